"""Who gets in: a live key on every route, and nothing else that a caller can say."""

from __future__ import annotations

import re
import secrets
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from verification.contract import http, promises
from verification.contract.bounds import bounds
from verification.contract.tiers import FREE, PRO
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.limit_fields import limit_fields
from verification.harness.waiting import eventually, now_s, together
from verification.verdict import UnknownVerdict

if TYPE_CHECKING:
    from verification.harness.http_client import Answer
    from verification.harness.target import Target

OPENAPI = "/api/openapi.json"
OPEN = {route.path for route in http.ROUTES if not route.needs_key}
PARAMETER = re.compile(r"\{[^}]*\}")
METHODS = ("get", "post", "put", "patch", "delete")
# What stands in the request instead of a live key.
STRANGE = {
    "nothing": b"",
    "an empty key": b"Authorization: Bearer \r\n",
    "garbage": b"Authorization: Bearer lhk_garbage\r\n",
    "a very long key": b"Authorization: Bearer " + b"x" * 5000 + b"\r\n",
    "not ASCII": b"Authorization: Bearer k\xe9y-\xff\r\n",
    "another scheme": b"Authorization: Basic bGhrOng=\r\n",
    "twice": b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n",
}

# Of 2 s and 60 s by default, so that a claim can wait for both.
STALE_S = 3.0
SOON_FORGOTTEN = {"KEY_CACHE_S": "0.2", "KEY_CACHE_STALE_S": f"{STALE_S:g}"}
# What a busy machine adds to the moment at which a key is refused.
REFUSED_WITHIN_S = STALE_S + 5.0


def documented(target: Target) -> list[tuple[str, str]]:
    """Method and path of every route that the service documents and that needs a key."""
    found: dict[str, dict[str, Any]] = target.http.get(OPENAPI).json()["paths"]
    return [
        (method.upper(), path)
        for path, operations in found.items()
        for method in METHODS
        if method in operations and path.rstrip("/") not in OPEN
    ]


@claim("security.keys.metrics-token", proves=[promises.KEY_ON_EVERY_ROUTE], needs=[can.RESTART])
def test_metrics_with_a_token_of_their_own_open_to_that_token_alone(target: Target) -> None:
    token = secrets.token_urlsafe(24)
    presented = (None, token + "x", token[:-1], token)

    with target.beside({"METRICS_TOKEN": token}) as (beside, _):
        answers = [beside.get(http.METRICS.path, key=key) for key in presented]

    assert [answer.status for answer in answers] == [401, 401, 401, 200]
    assert [answer.text for answer in answers[:-1] if "llmhive_" in answer.text] == []


@claim(
    "security.keys.on-every-route",
    proves=[promises.KEY_ON_EVERY_ROUTE],
    needs=[can.USERS, can.SHELL],
)
def test_no_documented_route_serves_a_caller_without_a_live_key(target: Target) -> None:
    user = target.new_user()
    assert target.shell(["keys", "revoke", user.key_id]).code == 0
    routes = documented(target)

    answers = [
        target.http.request(method, PARAMETER.sub("x", path), key=key)
        for method, path in routes
        for key in (None, "lh_garbage", user.key)
    ]

    assert {route.path for route in http.ROUTES if route.needs_key} <= {path for _, path in routes}
    assert {answer.status for answer in answers} == {401}


@claim("security.keys.no-anonymous", proves=[promises.KEY_ON_EVERY_ROUTE], needs=[can.SCRIPT])
def test_a_strange_key_is_refused_and_costs_no_provider_call(target: Target) -> None:
    body = b'{"message": "hello"}'
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n"
    begin = head % (http.CHAT.path.encode(), len(body))

    answers = {
        case: target.http.raw(begin + field + b"\r\n" + body) for case, field in STRANGE.items()
    }

    statuses = {case: answer.split(b" ", 2)[1:2] for case, answer in answers.items()}
    assert statuses == {case: [b"401"] for case in STRANGE}
    assert target.provider(target.providers[0]).journal() == []


@claim(
    "security.keys.revoked-everywhere",
    proves=[promises.KEYS_REVOKED],
    needs=[can.USERS, can.SHELL, can.WORKERS],
    workers=2,
)
def test_a_revoked_key_is_refused_by_every_worker_within_its_bound(target: Target) -> None:
    user, workers = target.new_user("pro"), target.reach_all_workers()
    with ExitStack() as kept:
        ways = [kept.enter_context(target.at_worker(worker)) for worker in workers]

        def asked() -> list[Answer]:
            # Not chat: whom a limit refuses is not told whether the key still lives.
            return [way.get(http.SUBSCRIPTION.path, key=user.key) for way in ways]

        known = asked()
        assert target.shell(["keys", "revoke", user.key_id]).code == 0
        eventually(
            asked,
            until=lambda seen: {one.status for one in seen} == {401},
            within_s=bounds().revocation_within_s,
            claim="a revoked key is refused on all workers",
        )
        after = [one for _ in range(20) for one in asked()]
    chats = together(8, lambda: target.chat(user, "hello"))

    assert [one.served_by for one in known] == workers
    assert len(workers) == 2
    assert {one.status for one in known} == {200}
    assert {one.status for one in after} == {401}
    assert {one.status for one in chats} == {401}


@claim(
    "security.keys.without-database",
    proves=[promises.KEYS_WITHOUT_DATABASE],
    needs=[can.USERS, can.DATABASE, can.SCRIPT],
    env=SOON_FORGOTTEN,
    faults=["database"],
)
def test_without_the_database_a_known_key_works_for_its_time_and_an_unknown_one_is_not_judged(
    target: Target,
) -> None:
    known, unknown = target.new_user("enterprise"), target.new_user("enterprise")
    before = target.chat(known, "hello")
    with target.database_lost():
        lost_s = now_s()
        strange = [
            target.http.post(http.CHAT.path, json={"message": "hello"}, key=key)
            for key in (unknown.key, "lh_garbage")
        ]
        last = eventually(
            lambda: target.chat(known, "hello"),
            until=lambda result: result.status != 200,
            within_s=REFUSED_WITHIN_S,
            claim="without the database a known key works for its time only",
            every_s=0.1,
        )
        served = [each for each in target.answers if each.sent_s > lost_s and each.status == 200]
    healed = [target.chat(user, "hello").status for user in (known, unknown)]

    if not served:
        raise UnknownVerdict("the machine was slow: the key was not used before its time was over")
    assert (before.status, healed) == (200, [200, 200])
    refused = [(one.status, one.code, one.retry_after_s) for one in (*strange, last.answer)]
    assert refused == [(503, "database_unavailable", 1)] * 3
    # Known by a reading that was begun after `before` was sent and before the tables were lost.
    assert last.answer.done_s > before.answer.sent_s + STALE_S
    assert max(each.sent_s for each in served) < lost_s + STALE_S


@claim(
    "security.keys.expire",
    proves=[promises.KEYS_EXPIRE],
    needs=[can.USERS, can.SHELL, can.ADMIN],
)
def test_an_expired_key_is_refused_and_said_to_be_expired(target: Target) -> None:
    began_s = now_s()
    wanted = {"user": target.name(), "expires_in_s": 3}
    made = [
        target.shell(
            ["keys", "create", "--user", target.name(), "--expires-in", "3s", "--json"]
        ).json(),
        target.http.post(http.ADMIN_USER_MAKE.path, json=wanted, key=target.operator().key).json(),
    ]

    def asked() -> list[Answer]:
        return [target.http.get(http.SUBSCRIPTION.path, key=each["key"]) for each in made]

    before = asked()
    after = eventually(
        asked,
        until=lambda answers: 200 not in {answer.status for answer in answers},
        within_s=6.0,
        claim="keys of three seconds end",
    )

    statuses = [answer.status for answer in before]
    if statuses != [200, 200] and before[-1].done_s > began_s + 3.0:
        raise UnknownVerdict("the machine was slow: a key had ended before its first use")
    assert statuses == [200, 200]
    assert [(one.status, one.code) for one in after] == [(401, "expired_api_key")] * 2


@claim(
    "security.keys.exchanged",
    proves=[promises.KEYS_REVOKED, promises.TIERS],
    needs=[can.USERS, can.SHELL],
)
def test_a_user_who_exchanges_a_key_for_another_keeps_the_tier_and_the_other_key(
    target: Target,
) -> None:
    user, create = target.new_user("pro"), ["keys", "create", "--json", "--user"]

    another = target.shell([*create, user.id]).json()
    revoked = target.shell(["keys", "revoke", user.key]).code
    eventually(
        lambda: target.http.get(http.SUBSCRIPTION.path, key=user.key).status,
        until=lambda status: status == 401,
        within_s=bounds().revocation_within_s,
        claim="a key that was revoked by itself opens nothing",
    )
    kept = target.chat(None, "hello", headers={"Authorization": f"Bearer {another['key']}"})
    admin = target.http.get(http.ADMIN_BREAKERS.path, key=another["key"])
    unknown = target.shell(["keys", "revoke", "key_0123456789abcdef"]).code

    assert (revoked, unknown, another["tier"], another["scopes"]) == (0, 1, "pro", ["chat"])
    assert (kept.status, limit_fields(kept.answer).quota.get("requests")) == (200, PRO.requests)
    assert admin.status == 403


@claim(
    "security.keys.identity-is-the-keys",
    proves=[promises.KEY_ON_EVERY_ROUTE, promises.OWN_BILLING_ONLY],
    needs=[can.USERS],
)
def test_nothing_that_a_caller_says_makes_them_somebody_else(target: Target) -> None:
    owner, other = target.new_user(), target.new_user("enterprise")
    told = [("x-user-id", other.id), ("x-api-key", other.key), ("cookie", f"user={other.id}")]

    seen = target.http.get(http.SUBSCRIPTION.path, key=owner.key, headers=told)
    wished = target.chat(
        owner, "hello", headers=dict(told), tier="enterprise", user_id=other.id, is_admin=True
    )
    plain = target.chat(owner, "hello", headers=dict(told))

    assert (seen.status, (seen.json() or {}).get("user")) == (200, owner.id)
    assert wished.status in {200, 422}
    assert f"q={FREE.requests}" in plain.answer.headers.get("ratelimit-policy", "")


@claim("security.no-sessions", proves=[promises.NO_SESSIONS], needs=[can.USERS])
def test_no_answer_sets_a_cookie_and_no_cookie_opens_anything(target: Target) -> None:
    user = target.new_user()
    cookie = {"cookie": f"session={user.key}; api_key={user.key}; authorization=Bearer {user.key}"}

    answers: list[Answer] = [
        target.chat(user, "hello").answer,
        target.chat(user, "hello", stream=True).answer,
        target.http.get(http.HEALTH.path),
        target.http.get("/api/nowhere"),
        target.http.get(http.SUBSCRIPTION.path, key=user.key),
    ]
    by_cookie = target.http.get(http.SUBSCRIPTION.path, headers=cookie)

    assert [answer.headers.get("set-cookie") for answer in answers] == [None] * len(answers)
    assert by_cookie.status == 401
