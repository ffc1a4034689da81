"""The operators' routes: nobody else's, traced, and no further than they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verification.contract import http, promises
from verification.contract.bounds import bounds
from verification.contract.redis_keys import override_key, window_pattern
from verification.harness import billing, stripe_events, stripe_objects
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.users import User
from verification.harness.waiting import eventually
from verification.suites.operators.console import Console
from verification.verdict import UnknownVerdict

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
SHORTEST_LEASE_S, LONGEST_LEASE_S = http.LEASE_TTL_S
# Longer than the claim.
HAND_LASTS_S = 600
WINDOW, OVERRIDE = "a window", "an operator's limit"


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


def keys_of(target: Target, user: dict[str, Any]) -> set[str]:
    """What stands of a user in Redis."""
    patterns = {WINDOW: window_pattern(user["user"]), OVERRIDE: override_key(user["user"])}
    return {what for what, pattern in patterns.items() if target.redis.keys(pattern)}


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
    nobody = Console(target, User(id="nobody", key="lhk_garbage"))
    calls = [
        console.call(http.ADMIN_USERS, params={"tag": "none"}),
        console.call(http.ADMIN_LIMIT_CLEAR, user.id),
        Console(target, user).call(http.ADMIN_BREAKERS),
        nobody.call(http.ADMIN_BREAKERS),
        console.call(http.ADMIN_LIMIT_SET, user.id, json={"requests_per_min": "many"}),
    ]

    lines = [audit_lines(target, str(call.request_id)) for call in calls]

    assert [len(some) for some in lines] == [1] * len(calls)
    assert [some[0]["status"] for some in lines] == [200, 404, 403, 401, 422]
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
    listed = console.call(http.ADMIN_USERS, params={"tag": tag}).json()["users"]

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
    assert {user["user"] for user in listed} == {each["user"] for each in gone}


@claim("operators.users.tags", proves=[promises.USERS_ARE_FOUND], needs=[can.USERS, can.ADMIN])
def test_tags_are_found_by_how_they_begin_to_the_letter(target: Target) -> None:
    console, name = Console.of(target), target.name("tag")
    tags = [name + end for end in ("_a", "_a", "_a0", "-a", "")]
    made = [console.make(target.name(), tag=tag, tier="pro") for tag in tags]

    found = console.call(http.ADMIN_TAGS, params={"prefix": name + "_"}).json()["tags"]
    users = console.call(http.ADMIN_USERS, params={"tag": name + "_a"}).json()["users"]

    for each in made:
        console.call(http.ADMIN_USER_DELETE, each["user"])
    assert found == [{"tag": name + "_a", "users": 2}, {"tag": name + "_a0", "users": 1}]
    assert [(user["tier"], user["tag"], user["keys"]) for user in users] == [
        ("pro", tags[0], 1)
    ] * 2


@claim(
    "operators.users.made-once",
    proves=[promises.USERS_ARE_MADE_ONCE, promises.OWN_BILLING_ONLY],
    needs=[can.USERS, can.ADMIN],
)
def test_nobody_gets_a_key_of_a_user_or_the_customer_of_a_user_that_is_there(
    target: Target,
) -> None:
    console, customer = Console.of(target), f"cus_{target.name('owned')}"
    owner = console.make(target.name(), tier="pro", stripe_customer=customer)
    wanted = [
        {"user": owner["user"]},
        {"user": target.name(), "stripe_customer": customer},
        {"user": target.name(), "tier": "unheard-of"},
        {"user": target.name(), "scopes": ["everything"]},
    ]

    refused = [console.call(http.ADMIN_USER_MAKE, json=each) for each in wanted]

    seen = target.http.get(http.SUBSCRIPTION.path, key=owner["key"])
    console.call(http.ADMIN_USER_DELETE, owner["user"])
    assert [(answer.status, answer.code) for answer in refused] == [
        (409, "user_exists"),
        (409, "customer_taken"),
        (422, "invalid_request"),
        (422, "invalid_request"),
    ]
    assert (seen.status, seen.json()["user"]) == (200, owner["user"])


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
    needs=[can.USERS, can.ADMIN, can.REDIS_WRITE, can.SHELL],
)
def test_nothing_of_a_deleted_user_is_left_in_redis(target: Target) -> None:
    console, prefix = Console.of(target), target.name("one")
    users = [console.make(f"{prefix}{end}") for end in ("", "0", "00")]
    by_route, by_command, kept = users
    assert console.statuses(*users) == {200}
    for each in users:  # a number by hand, which no worker takes back
        key = override_key(each["user"])
        target.redis.operator_sets(key, {"requests_per_min": "50"}, ttl_s=HAND_LASTS_S)
    before = [keys_of(target, each) for each in users]

    console.call(http.ADMIN_USER_DELETE, by_route["user"])
    deleted = target.shell(["users", "delete", by_command["user"]])

    after = [keys_of(target, each) for each in users]
    console.call(http.ADMIN_USER_DELETE, kept["user"])
    assert deleted.code == 0
    assert (before, after) == ([{WINDOW, OVERRIDE}] * 3, [set(), set(), {WINDOW, OVERRIDE}])


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


@claim(
    "operators.run-lease.renewed",
    proves=[promises.ONE_RUN_AT_A_TIME],
    needs=[can.ADMIN, can.SHELL],
)
def test_a_run_holds_its_lease_for_longer_by_its_id_alone_and_gives_it_back(target: Target) -> None:
    console = Console.of(target)
    wanted = {"holder": "claim", "run": target.name("run"), "ttl_s": SHORTEST_LEASE_S}
    longer = {"ttl_s": LONGEST_LEASE_S}

    taken = console.call(http.ADMIN_LEASE_TAKE, json=wanted)
    lease_id = taken.json()["lease_id"]
    guessed = console.call(http.ADMIN_LEASE_RENEW, "guessed", json=longer)
    at_first = console.call(http.ADMIN_LEASE).json()["lease"]
    renewed = console.call(http.ADMIN_LEASE_RENEW, lease_id, json=longer)
    seen = console.call(http.ADMIN_LEASE)
    released = console.call(http.ADMIN_LEASE_RELEASE, lease_id)
    after = console.call(http.ADMIN_LEASE).json()["lease"]

    if renewed.sent_s - taken.sent_s > SHORTEST_LEASE_S - 1:
        raise UnknownVerdict("the machine was slow: the lease ended before it was renewed")
    assert [one.status for one in (taken, guessed, renewed, released)] == [201, 409, 200, 200]
    assert at_first["expires_in_s"] <= SHORTEST_LEASE_S < seen.json()["lease"]["expires_in_s"]
    assert seen.json()["lease"]["run"] == wanted["run"]
    assert lease_id not in seen.text
    assert after is None
