"""A request counts for the user whose key it carries: for nobody else, and for nothing less."""

from __future__ import annotations

from verification.contract import promises
from verification.contract.tiers import TIERS, WINDOW_S
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.limit_fields import limit_fields
from verification.harness.target import ChatResult, Target
from verification.harness.waiting import together_over
from verification.suites.limits.callers import HELLO, decided_together
from verification.suites.limits.scales import CALM, FREE

NEEDS = [can.USERS, can.METRICS, can.SHRINK, can.REDIS_READ]
# What a key in Redis would take for something else, appended to the id of another user.
LOOK_ALIKES = (":1", "*", "\n", "%3A", ":inflight", "}", "\u00e9")
# What a caller may say beside its key, or instead of spelling it as usual.
DISGUISES: dict[str, dict[str, str]] = {
    "plain": {},
    "another user's name": {"X-User-ID": "somebody-else"},
    "an address": {"X-Forwarded-For": "203.0.113.7", "X-Real-IP": "203.0.113.8"},
    "a request id": {"X-Request-ID": "the-same-0123456789"},
    "the same request id": {"X-Request-ID": "the-same-0123456789"},
    "an idempotency key": {"Idempotency-Key": "the-same"},
    "the same idempotency key": {"Idempotency-Key": "the-same"},
}
SPELLINGS = ("bearer {}", "BEARER  {}", "{}")


def requests_left(result: ChatResult) -> int | None:
    """What an answer says is left of the requests."""
    return limit_fields(result.answer).remaining.get("requests")


@claim("limits.users.apart", proves=[promises.USERS_APART], needs=NEEDS, env=CALM, workers=2)
def test_a_user_that_used_up_its_limit_takes_nothing_from_others_of_like_names(
    target: Target,
) -> None:
    name = target.name()
    others = together_over(LOOK_ALIKES, lambda end: target.new_user(named=name + end))
    user = target.new_user(named=name)

    with decided_together(target):
        pressed = [target.chat(user, HELLO) for _ in range(FREE.requests + 1)]
        first = {other.id: requests_left(target.chat(other, HELLO)) for other in others}

    assert [one.status for one in pressed] == [200] * FREE.requests + [429]
    assert first == {other.id: FREE.requests - 1 for other in others}


@claim(
    "limits.users.one-allowance",
    proves=[promises.NOT_KEYED_BY_CALLER],
    needs=NEEDS,
    env=CALM,
    workers=2,
)
def test_neither_another_key_nor_another_spelling_nor_a_header_gives_a_second_allowance(
    target: Target,
) -> None:
    user = target.new_user()
    again = target.new_user(named=user.id)
    spelled = [{"Authorization": text.format(user.key)} for text in SPELLINGS]

    with decided_together(target):
        results = [target.chat(user, HELLO, headers=said) for said in DISGUISES.values()]
        results += [target.chat(None, HELLO, headers=said) for said in spelled]
        results += [target.chat(again, HELLO)]

    left = [requests_left(one) for one in results if one.status != 401]
    assert left == [max(0, FREE.requests - 1 - number) for number in range(len(left))]
    assert again.key != user.key


@claim("limits.tiers.as-documented", proves=[promises.TIERS], needs=[can.USERS])
def test_each_tier_has_its_documented_limits(target: Target) -> None:
    users = together_over(TIERS, target.new_user)

    said = {user.tier: limit_fields(target.chat(user, HELLO).answer) for user in users}

    assert {tier: one.quota for tier, one in said.items()} == {
        tier.name: {"requests": tier.requests, "tokens": tier.tokens, "in_flight": tier.in_flight}
        for tier in TIERS.values()
    }
    assert {tier: one.remaining["requests"] for tier, one in said.items()} == {
        tier.name: tier.requests - 1 for tier in TIERS.values()
    }
    assert {tuple(one.window_s.values()) for one in said.values()} == {(WINDOW_S, WINDOW_S)}
