"""Orders to breakers: followed by every worker, above every timer, and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verification.contract import http, promises
from verification.contract.bounds import bounds
from verification.contract.redis_keys import circuit_key, override_key
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.waiting import eventually
from verification.suites.operators.console import Console

if TYPE_CHECKING:
    from verification.harness.target import Target, User


# Above the tier's, so that the claim's own chats are admitted.
LIMIT = "2000"
# More than open a breaker, were each of them to fail once.
REQUESTS = 10
# Longer than the claim: the copy's own end does not make it hold.
LASTS_S = 600


def asked_by_every_worker(target: Target, user: User) -> set[str]:
    """The provider that each worker asks for one chat."""
    asked = set()
    for served_by in target.reach_all_workers():
        with target.at_worker(served_by) as way:
            asked.add(str(target.chat(user, "hello", http=way).body.get("provider")))
    return asked


def followed(target: Target, user: User, provider: str, sentence: str) -> set[str]:
    """Wait until every worker asks that provider, within the bound of an order."""
    return eventually(
        lambda: asked_by_every_worker(target, user),
        until=lambda asked: asked == {provider},
        within_s=bounds().override_within_s,
        claim=sentence,
    )


def becomes(target: Target, key: str, wanted: dict[str, str], sentence: str) -> dict[str, str]:
    """The hash in Redis once it has these fields, within the bound of an order."""
    return eventually(
        lambda: target.redis.hash(key),
        until=lambda fields: wanted.items() <= fields.items(),
        within_s=bounds().override_within_s,
        claim=sentence,
    )


@claim(
    "operators.breakers.orders",
    proves=[promises.BREAKER_ORDERS],
    needs=[can.USERS, can.SHELL, can.WORKERS],
    workers=2,
)
def test_an_order_to_a_breaker_is_followed_by_all_workers_until_it_is_reset(
    target: Target,
) -> None:
    user = target.new_user("enterprise")
    first, second = target.providers[:2]
    before = asked_by_every_worker(target, user)

    assert target.shell(["breakers", "force-open", first, "--reason", "claim"]).code == 0
    during = followed(target, user, second, "no worker asks a provider ordered open")
    assert target.shell(["breakers", "reset", first]).code == 0
    after = followed(target, user, first, "every worker asks it again after the reset")

    assert (before, during, after) == ({first}, {second}, {first})


@claim(
    "operators.breakers.by-route",
    proves=[promises.BREAKER_ORDERS],
    needs=[can.USERS, can.ADMIN, can.SCRIPT],
)
def test_a_breaker_forced_closed_lets_every_request_ask_a_failing_provider_until_its_reset(
    target: Target,
) -> None:
    console, user, first = Console.of(target), target.new_user("enterprise"), target.providers[0]
    failing = target.name("failing")
    target.provider(first).reply(contains=failing, status=500)

    def asked() -> int:
        """How many of some failing requests asked the first provider."""
        messages = [f"{failing} {target.name('message')}." for _ in range(REQUESTS)]
        assert {target.chat(user, message).status for message in messages} == {200}
        return sum(bool(target.provider(first).journal(contains=each)) for each in messages)

    def ordered(action: str) -> tuple[int, str | None, str]:
        order = {"action": action, "reason": f"claim {action}"}
        answer = console.call(http.ADMIN_BREAKER_ORDER, breaker, json=order)
        listed = console.call(http.ADMIN_BREAKERS).json()["breakers"]
        seen = next(each for each in listed if each["name"] == breaker)
        return answer.status, seen["forced"], seen["reason"]

    listed = console.call(http.ADMIN_BREAKERS).json()["breakers"]
    breaker = next(each["name"] for each in listed if each["name"].startswith(f"{first}:"))
    forced_closed, while_closed = ordered("force_close"), asked()
    forced_open, while_open = ordered("force_open"), asked()
    reset, after = ordered("reset"), asked()

    assert forced_closed == (200, "closed", "claim force_close")
    assert forced_open == (200, "open", "claim force_open")
    assert reset[:2] == (200, None)
    assert (while_closed, while_open) == (REQUESTS, 0)
    assert 0 < after < REQUESTS


@claim(
    "operators.breakers.survive-restart",
    proves=[promises.BREAKER_ORDERS, promises.LIMIT_OVERRIDE],
    needs=[can.USERS, can.SHELL, can.REDIS_WRITE, can.RESTART, can.FAULTS],
    faults=("redis",),
)
def test_an_order_outlives_a_restart_and_the_loss_of_redis_memory_and_a_cleared_limit_does_not(
    target: Target,
) -> None:
    user = target.new_user("enterprise")
    first, second = target.providers[:2]
    limit = override_key(user.id)
    set_it = ["limits", "set", user.id, "--requests-per-min", LIMIT, "--for", "1h"]
    given = [target.shell(each).code for each in (["breakers", "force-open", first], set_it)]
    copy = becomes(target, limit, {"requests_per_min": LIMIT}, "Redis shows the limit")
    followed(target, user, second, "the order is followed by those who were there")

    # Those who were there could put it back into Redis.
    with target.faults.refuse("redis"):
        target.redis.flush()
        target.redis.operator_sets(limit, copy, ttl_s=LASTS_S)
        given.append(target.shell(["limits", "clear", user.id]).code)
        target.restart()
        followed(target, user, second, "the order is followed by those who were not there")
    eventually(
        lambda: target.redis.hash(limit),
        until=lambda fields: not fields,
        within_s=bounds().override_within_s,
        claim="Redis shows no limit that was cleared while it was away",
    )
    assert [*given, target.shell(["breakers", "reset", first]).code] == [0] * 4


@claim(
    "operators.breakers.redis-edited",
    proves=[promises.BREAKER_ORDERS],
    needs=[can.SHELL, can.REDIS_WRITE],
)
def test_an_order_stands_above_what_is_edited_or_put_back_in_redis(target: Target) -> None:
    first = target.providers[0]
    record = circuit_key(first)
    given = [target.shell(["breakers", "force-open", first]).code]
    ordered = becomes(target, record, {"forced": "open"}, "Redis shows the order")

    target.redis.operator_sets(record, {"state": "OPEN", "since": "noon"}, ttl_s=None)
    becomes(target, record, {"state": "open", "forced": "open"}, "a slip of the hand is mended")
    given.append(target.shell(["breakers", "reset", first]).code)
    becomes(target, record, {"forced": ""}, "Redis shows that the order was taken back")
    target.redis.operator_sets(record, ordered, ttl_s=None)
    becomes(target, record, {"forced": ""}, "an order that was taken back does not come back")

    assert given == [0, 0]
