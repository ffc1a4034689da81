"""One provider in trouble: the other answers, once, with its own key; nothing is tried in vain."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from verification.contract import http, promises
from verification.contract.breakers import ATTEMPTS_PER_PROVIDER
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.waiting import meanwhile, together, together_over
from verification.verdict import UnknownVerdict

if TYPE_CHECKING:
    from verification.harness.target import Target, User

NEEDS = [can.USERS, can.SCRIPT]
# Of the providers in their order.
MODELS = ["gpt-4o", "claude-sonnet-4-5"]
# No breaker opens, so that every request asks the first provider.
SHORT_OF_RETRIES = {
    "BREAKER_MIN_FAILURES": "1000",
    "S4_LLM_TIMEOUT": "1.2",
    "S4_STREAM_IDLE_TIMEOUT": "3",
}
# And there are always retries left, whatever other claims used of them.
UNBROKEN = {**SHORT_OF_RETRIES, "RETRY_BUDGET_START": "1000"}
# Waits of a second, of which nothing but chance takes anything off.
SPREAD = {
    **UNBROKEN,
    "RETRY_BASE_S": "1",
    "RETRY_CAP_S": "1",
    "RETRY_ATTEMPTS": "2",
    "S4_LLM_TIMEOUT": "30",
}
BUDGET_START, BUDGET_RATIO = 10, 0.2
STORM, STORMY = 40, "stormy"
# Full jitter over a second spreads the middle half of the waits over about half a second.
SPREAD_S = 0.2
WAVES = 3
TROUBLE: dict[str, dict[str, Any]] = {
    "an error": {"status": 500},
    "a reset": {"cut": "rst"},
    "a close": {"cut": "fin"},
    "silence": {"hang": True},
    "slow headers": {"delay_s": 5.0},
    "half an answer": {"cut_after_bytes": 30},
    "no JSON": {"raw": "<html>gateway</html>"},
    "an empty answer": {"raw": ""},
    "a refused key": {"status": 401},
    "a key without leave": {"status": 403},
    "a model that is gone": {"status": 404},
}
# What may have passed when it is asked again at once.
PASSING = (408, 409, 500, 502, 503, 504, 529)
# And two that ask for a long rest: the shorter one ends first, and seconds pass meanwhile.
SOON_S, TOO_LATE_S, PASSED_S = 300, 3000, 60
# Well within the wall clock.
REST_S = 1.0
LATER = "later"
# What the caller said is the cause, so no other provider would take it.
REFUSALS = (400, 413, 422)


@claim(
    "chat.fallback.each-kind",
    proves=[promises.FALLBACK, promises.PROVIDER_KEYS, promises.NEVER_HALF_AN_ANSWER],
    needs=[*NEEDS, can.METRICS],
    env=UNBROKEN,
)
def test_for_each_kind_of_trouble_the_other_provider_answers_with_its_own_key(
    target: Target,
) -> None:
    user, names, before = target.new_user("enterprise"), target.providers, target.settled_metrics()
    ways = [(model, on) for model in MODELS for on in (False, True)]

    answered, used = {}, 0
    for kind, reply in TROUBLE.items():
        for name, model in zip(names, MODELS, strict=True):
            target.provider(name).clear_rules()
            target.provider(name).reply(contains=f"of {model}", **reply)
        results = together_over(
            ways, lambda way: target.chat(user, f"of {way[0]}", model=way[0], stream=way[1])
        )
        answered[kind] = [(one.is_whole, one.body.get("provider")) for one in results]
        used += sum(one.body["usage"]["total_tokens"] for one in results if one.is_whole)
    after = target.settled_metrics()

    others = [(True, name) for name in reversed(names) for _ in (False, True)]
    assert answered == dict.fromkeys(TROUBLE, others)
    for name in names:
        fell = [m.sum("llmhive_fallbacks_total", provider=name) for m in (before, after)]
        keys = {call.key for call in target.provider(name).journal()}
        assert (fell[1] - fell[0], keys) == (2 * len(TROUBLE), {target.provider(name).key})
    assert after.sum("llmhive_tokens_total") - before.sum("llmhive_tokens_total") == used


@claim(
    "chat.fallback.no-reason",
    proves=[promises.FALLBACK, promises.NEVER_HALF_AN_ANSWER],
    needs=NEEDS,
    env=UNBROKEN,
)
def test_an_answer_that_does_not_say_why_it_ended_is_not_taken_for_whole(target: Target) -> None:
    user, names = target.new_user("enterprise"), target.providers
    for name, model in zip(names, MODELS, strict=True):
        target.provider(name).reply(contains=f"of {model}", finish_reason=None)

    results = together_over(MODELS, lambda model: target.chat(user, f"of {model}", model=model))

    answered = [(one.is_whole, one.body.get("provider")) for one in results]
    assert answered == [(True, name) for name in reversed(names)]


@claim(
    "chat.fallback.cut-off",
    proves=[promises.FALLBACK],
    needs=[*NEEDS, can.FAULTS],
    env=UNBROKEN,
    faults=["openai"],
)
def test_a_provider_that_cannot_be_reached_is_passed_over(target: Target) -> None:
    user, (first, second) = target.new_user("enterprise"), target.providers

    with target.faults.refuse(first):
        refused = target.chat(user, "hello")
    with target.faults.hang(first):
        hung = target.chat(user, "hello", stream=True)
    with target.faults.reset(first):
        reset = target.chat(user, "hello")

    assert [one.body.get("provider") for one in (refused, hung, reset)] == [second] * 3
    assert [one.is_whole for one in (refused, hung, reset)] == [True] * 3


@claim(
    "chat.fallback.limit-is-not-the-callers",
    proves=[promises.FALLBACK, promises.RETRY_AFTER_HONOURED],
    needs=NEEDS,
    env=UNBROKEN,
)
def test_a_limit_that_all_providers_set_is_waited_for_if_short_and_not_told_as_the_callers(
    target: Target,
) -> None:
    user, short = target.new_user("enterprise"), {"retry-after": f"{REST_S:g}"}
    for name, rest_s in zip(target.providers, (SOON_S, TOO_LATE_S), strict=True):
        long = {"retry-after": f"{rest_s}", "x-ratelimit-remaining-requests": "0"}
        target.provider(name).reply(times=1, status=429, headers=short)
        target.provider(name).reply(contains=LATER, status=429, headers=long)

    waited = target.chat(user, "hello")
    results = together_over((False, True), lambda on: target.chat(user, LATER, stream=on))
    headers = [one.answer.headers for one in results]

    assert (waited.status, waited.answer.seconds >= REST_S) == (200, True)
    assert [(one.status, one.code) for one in results] == [(503, "no_provider_available")] * 2
    told_s = [one.answer.retry_after_s or 0 for one in results]
    assert [SOON_S - PASSED_S <= each <= SOON_S + 1 for each in told_s] == [True] * 2, told_s
    assert [each for each in headers if "x-ratelimit-remaining-requests" in each] == []
    assert [each for each in headers if ";r=0" in each.get("ratelimit", "")] == []


@claim(
    "chat.retries.bounded",
    proves=[promises.ATTEMPTS_BOUNDED, promises.ONLY_WHAT_MAY_BE_RETRIED],
    needs=NEEDS,
    env=UNBROKEN,
)
def test_each_provider_is_asked_three_times_at_most_and_a_time_out_not_again(
    target: Target,
) -> None:
    user, (first, second) = target.new_user("enterprise"), target.providers
    target.provider(first).reply(hang=True)
    target.provider(second).fail(500)

    result = target.chat(user, "hello")

    counts = [len(target.provider(name).journal()) for name in (first, second)]
    assert (result.status, result.code) == (503, "no_provider_available")
    assert (result.answer.retry_after_s or 0) >= 1
    assert counts == [1, ATTEMPTS_PER_PROVIDER]


@claim(
    "chat.retries.passing",
    proves=[promises.ONLY_WHAT_MAY_BE_RETRIED, promises.FALLBACK],
    needs=NEEDS,
    env=UNBROKEN,
)
def test_what_may_pass_is_tried_again_before_the_other_provider_answers(target: Target) -> None:
    user, (first, second) = target.new_user("enterprise"), target.providers

    counts, answered = [], []
    for status in PASSING:
        target.provider(first).clear_rules()
        target.provider(first).fail(status)
        answered.append(target.chat(user, f"status {status}").body.get("provider"))
        counts.append(len(target.provider(first).journal(contains=f"status {status}")))

    assert answered == [second] * len(PASSING)
    assert counts == [ATTEMPTS_PER_PROVIDER] * len(PASSING)


@claim(
    "chat.retries.refusals-once",
    proves=[promises.ONLY_WHAT_MAY_BE_RETRIED],
    needs=NEEDS,
    env=UNBROKEN,
)
def test_what_a_provider_calls_malformed_is_asked_once_and_of_nobody_else(target: Target) -> None:
    user, (first, second) = target.new_user("enterprise"), target.providers

    statuses = []
    for status in REFUSALS:
        target.provider(first).clear_rules()
        target.provider(first).fail(status)
        statuses += [target.chat(user, "hello").status, target.chat(user, "hi", stream=True).status]

    assert statuses == [422] * 2 * len(REFUSALS)
    assert len(target.provider(first).journal()) == 2 * len(REFUSALS)
    assert target.provider(second).journal() == []


@claim("chat.retries.budget", proves=[promises.RETRY_BUDGET], needs=NEEDS, env=SHORT_OF_RETRIES)
def test_a_storm_of_failures_cannot_multiply_itself(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(target.providers[0])
    provider.fail(500, contains=STORMY)

    # Quiet times earn no more than what there is at the start.
    together(STORM, lambda: target.chat(user, "hello"))
    together(STORM, lambda: target.chat(user, STORMY))

    calls = len(provider.journal(contains=STORMY))
    assert STORM < calls <= STORM + BUDGET_START + math.ceil(BUDGET_RATIO * STORM)


@claim("chat.retries.jitter", proves=[promises.ATTEMPTS_BOUNDED], needs=NEEDS, env=SPREAD)
def test_second_attempts_of_many_requests_do_not_come_in_one_wave(target: Target) -> None:
    user, pings_s = target.new_user("enterprise"), [0.0]
    target.provider(target.providers[0]).fail(500)

    for _ in range(WAVES):
        pings_s.clear()
        with meanwhile(
            lambda: pings_s.append(target.http.get(http.LIVE.path).seconds), every_s=0.05
        ):
            waits_s = waits_of_a_wave(target, user)
        quarter = len(waits_s) // 4
        spread_s = waits_s[-quarter - 1] - waits_s[quarter]
        # What became due while the machine stood still comes at once, jitter or not.
        if spread_s >= SPREAD_S or max(pings_s) <= SPREAD_S / 2:
            break
    else:
        raise UnknownVerdict(f"a ping took {max(pings_s):.2f} s, expected {SPREAD_S / 2:g} s")

    assert spread_s >= SPREAD_S


def waits_of_a_wave(target: Target, user: User) -> list[float]:
    """How long each of many requests waited for its second attempt, the shortest first."""
    texts = [target.name("wave") for _ in range(STORM)]
    together_over(texts, lambda text: target.chat(user, text))
    calls = target.provider(target.providers[0]).journal()
    by_text = {text: [call for call in calls if text in call.text] for text in texts}
    waits_s = sorted(
        second.arrived_s - (first.ended_s or first.arrived_s)
        for first, second in (pair for pair in by_text.values() if len(pair) == 2)
    )
    if len(waits_s) < STORM // 2:
        raise UnknownVerdict(f"{len(waits_s)} of {STORM} requests were asked twice")
    return waits_s
