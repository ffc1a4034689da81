"""The operators' routes: nobody else's, traced, and no further than they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verification.contract import http, promises
from verification.contract.bounds import bounds
from verification.contract.redis_keys import window_pattern
from verification.harness import billing, stripe_events, stripe_objects
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.waiting import eventually
from verification.suites.operators.console import Console

if TYPE_CHECKING:
    from verification.harness.target import Target

# Enough of every body for any of the routes, were the key let in.
BODY = {
    "user": "nobody",
    "tier": "enterprise",
    "action": "force_open",
    "requests_per_min": 1,
    "for_s": 60,
    "holder": "claim",
    "run": "claim",
    "ttl_s": 5,
}
SHORTEST_LEASE_S = http.LEASE_TTL_S[0]


def audit_lines(target: Target, request_id: str) -> list[dict[str, Any]]:
    """The audit lines of one request; the log is written a moment after the answer."""
    return eventually(
        lambda: [
            line
            for line in target.logs(request_id)
            if line.get("event") == http.AUDIT_EVENT and line.get("request_id") == request_id
        ],
        until=bool,
        within_s=3.0,
        claim=f"the log has an audit line for {request_id}",
    )


@claim("operators.routes.scope", proves=[promises.ADMIN_NEEDS_ITS_SCOPE], needs=[can.USERS])
def test_no_admin_route_lets_a_key_without_its_scope_in(target: Target) -> None:
    console = Console(target, target.new_user("enterprise"))
    answers = [
        console.call(route, "openai", json=BODY, params={"tag": "t", "prefix": "t"})
        for route in http.ADMIN_ROUTES
    ]

    assert {(answer.status, answer.code) for answer in answers} == {(403, "insufficient_scope")}


@claim(
    "operators.routes.audited",
    proves=[promises.ADMIN_IS_AUDITED],
    needs=[can.USERS, can.ADMIN, can.LOGS],
)
def test_every_admin_call_leaves_one_audit_line_without_users_and_keys(target: Target) -> None:
    console, user = Console.of(target), target.new_user("free")
    calls = [
        console.call(http.ADMIN_USERS, params={"tag": "none"}),
        console.call(http.ADMIN_LIMIT_CLEAR, user.id),
        Console(target, user).call(http.ADMIN_BREAKERS),
    ]

    lines = [audit_lines(target, str(call.request_id)) for call in calls]

    assert [len(some) for some in lines] == [1, 1, 1]
    assert [some[0]["status"] for some in lines] == [200, 404, 403]
    assert all(set(some[0]) >= http.AUDIT_FIELDS - {"key_id"} for some in lines)
    assert user.id not in str(lines)


@claim(
    "operators.users.deleted-wholly",
    proves=[promises.USERS_ARE_DELETED_WHOLLY],
    needs=[can.USERS, can.ADMIN],
)
def test_users_are_deleted_by_their_tag_with_their_keys_and_nobody_else(target: Target) -> None:
    console, tag = Console.of(target), target.name("tag")
    gone = [console.make(target.name(), tag=tag) for _ in range(3)]
    kept = console.make(target.name(), tag=tag + "0")
    spoken = console.statuses(*gone, kept)

    deleted = console.call(http.ADMIN_USERS_DELETE, params={"tag": tag}).json()

    eventually(
        lambda: console.statuses(*gone),
        until=lambda statuses: statuses == {401},
        within_s=bounds().revocation_within_s,
        claim="the keys of deleted users open nothing",
    )
    left = [
        console.call(http.ADMIN_USERS, params={"tag": each}).json()["total"]
        for each in (tag, kept["tag"])
    ]
    console.call(http.ADMIN_USER_DELETE, kept["user"])
    assert (spoken, deleted["deleted"], left) == ({200}, 3, [0, 1])


@claim(
    "operators.users.no-billing-left",
    proves=[promises.USERS_ARE_DELETED_WHOLLY, promises.OWN_BILLING_ONLY],
    needs=[can.USERS, can.ADMIN, can.STRIPE_SECRET, can.SCRIPT],
)
def test_who_gets_a_deleted_users_customer_gets_nothing_of_their_billing(target: Target) -> None:
    console, customer = Console.of(target), f"cus_{target.name('left')}"
    gone = console.make(target.name(), stripe_customer=customer)
    of = stripe_objects.subscription(customer, plan="pro")
    target.stripe.put(subscription=of)
    assert billing.deliver(target, stripe_events.subscription_created(of)).status == 200

    def told(key: str) -> tuple[str, int]:
        said = [
            target.http.get(route.path, key=key).json()
            for route in (http.SUBSCRIPTION, http.LEDGER)
        ]
        return said[0]["tier"], len(said[1][http.LEDGER_LIST])

    before = told(gone["key"])
    console.call(http.ADMIN_USER_DELETE, gone["user"])
    heir = console.make(target.name(), stripe_customer=customer)
    after = told(heir["key"])

    console.call(http.ADMIN_USER_DELETE, heir["user"])
    assert (before, after) == (("pro", 1), ("free", 0))


@claim(
    "operators.users.no-keys-left",
    proves=[promises.USERS_ARE_DELETED_WHOLLY],
    needs=[can.USERS, can.ADMIN, can.REDIS_READ],
)
def test_nothing_of_a_deleted_user_is_left_in_redis(target: Target) -> None:
    console, prefix = Console.of(target), target.name("one")
    gone, kept = (console.make(f"{prefix}{end}") for end in ("", "0"))
    assert console.statuses(gone, kept) == {200}
    before = target.redis.keys(window_pattern(gone["user"]))

    console.call(http.ADMIN_USER_DELETE, gone["user"])

    after = [target.redis.keys(window_pattern(each["user"])) for each in (gone, kept)]
    console.call(http.ADMIN_USER_DELETE, kept["user"])
    assert (len(before), [len(keys) for keys in after]) == (1, [0, 1])


@claim(
    "operators.run-lease.one-at-a-time",
    proves=[promises.ONE_RUN_AT_A_TIME],
    needs=[can.ADMIN, can.SHELL],
)
def test_one_run_holds_the_lease_and_a_killed_runs_lease_ends_by_itself(target: Target) -> None:
    console = Console.of(target)
    wanted = {"holder": "claim", "run": target.name("run"), "ttl_s": SHORTEST_LEASE_S}
    first = console.call(http.ADMIN_LEASE_TAKE, json=wanted)
    second = console.call(http.ADMIN_LEASE_TAKE, json={**wanted, "run": "another"})
    guessed = console.call(http.ADMIN_LEASE_RELEASE, "guessed")

    third = eventually(
        lambda: console.call(http.ADMIN_LEASE_TAKE, json={**wanted, "run": "another"}),
        until=lambda answer: answer.status != 409,
        within_s=SHORTEST_LEASE_S + bounds().override_within_s,
        claim="the lease of a run that says nothing more ends",
    )
    console.call(http.ADMIN_LEASE_RELEASE, third.json()["lease_id"])

    assert [answer.status for answer in (first, second, guessed, third)] == [201, 409, 409, 201]
    assert third.json()["took_over"]["run"] == wanted["run"]
    assert third.sent_s - first.sent_s >= SHORTEST_LEASE_S - 0.5
