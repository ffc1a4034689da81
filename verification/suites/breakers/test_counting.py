"""What counts as a provider's trouble, what does not, and how much of it is enough."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from verification.contract import promises
from verification.contract.bounds import bounds
from verification.contract.breakers import MIN_FAILURES
from verification.contract.http import LIVE
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.reach import require_every_worker
from verification.harness.waiting import eventually, let_pass, meanwhile, together
from verification.suites.breakers.circuit import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    OPENS_WITHIN_S,
    PROVIDER,
    asked,
    opened,
    parents_state,
    recovered,
    state,
)
from verification.verdict import UnknownVerdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from verification.harness.target import Target
    from verification.harness.users import User

NEEDS = [can.USERS, can.SCRIPT]
# One attempt a request, so that attempts can be counted by requests.
SINGLE = {"RETRY_ATTEMPTS": "1", "S4_LLM_TIMEOUT": "1"}
# The same numbers on a stack of their own: what others were answered would count as attempts.
ALONE = {**SINGLE, "BREAKER_MIN_FAILURES": str(MIN_FAILURES)}
TROUBLE: dict[str, dict[str, Any]] = {
    "time-out": {"hang": True},
    "reset": {"cut": "rst"},
    "request time-out": {"status": 408},
    "overloaded": {"status": 529},
    "cut answer": {"cut_after_bytes": 20},
}
# Longer than news and eight callers take together.
LONG_REST_S = 6.0
BEGINNING = ["one ", "two ", "three "]
# What only shows after an answer has begun.
BROKEN_STREAMS: dict[str, dict[str, Any]] = {
    "reset in the middle": {"cut_after_chunks": 2, "cut": "rst"},
    "without its end": {"omit_terminal": True},
    "an error inside": {"error_event": True},
}
# The forms in which a provider says how long it wants to be left alone, and the least it means.
WAITS: dict[str, tuple[Callable[[], dict[str, str]], float]] = {
    "seconds": (lambda: {"retry-after": "2"}, 2.0),
    "milliseconds": (lambda: {"retry-after-ms": "1500"}, 1.5),
    # Whole seconds, so at least three from now; one of them for the way.
    "date": (lambda: {"retry-after": formatdate(time.time() + 4, usegmt=True)}, 2.0),
}
CALLERS_FAULT = (400, 401, 403, 404, 413, 422)
# As vendors say that an account has no money left.
OUT_OF_MONEY: dict[str, tuple[int, dict[str, Any]]] = {
    "quota": (
        429,
        {
            "message": "You exceeded your current quota",
            "type": "insufficient_quota",
            "code": "insufficient_quota",
        },
    ),
    "credit": (
        400,
        {
            "message": "Your credit balance is too low to access the API.",
            "type": "invalid_request_error",
        },
    ),
    "payment": (402, {"message": "Insufficient credits.", "code": 402}),
}
# Less than S4_LLM_TIMEOUT, so that it is the caller who ends the call.
LEAVES_AFTER_S = 0.5
# 60 % more than would open it, if they counted.
OFTEN = 8


def opened_by(kind: str, target: Target, ask: Callable[[], object]) -> None:
    """Ask on, one by one, until the worker says that its breaker is open."""
    eventually(
        lambda: (ask(), state(target))[1],
        until=lambda now: now == OPEN,
        within_s=OPENS_WITHIN_S,
        claim=f"{kind} opens the breaker",
    )


@claim("breakers.counts.trouble", proves=[promises.BREAKER_COUNTS], needs=NEEDS, env=ALONE)
def test_each_kind_of_trouble_opens_it_after_five_and_spares_later_callers(target: Target) -> None:
    provider = target.provider(PROVIDER)

    for kind, reply in TROUBLE.items():
        user, already = target.new_user("enterprise"), len(provider.journal())
        provider.reply(**reply)
        first = asked(target, user, MIN_FAILURES - 1)
        before = state(target)
        opened_by(kind, target, partial(target.chat, user, "hello"))
        calls, parent = provider.journal()[already:], parents_state(target)
        provider.clear_rules()
        recovered(target, user)

        # Whoever answers badly was reached.
        assert (kind, before, parent) == (kind, CLOSED, CLOSED)
        assert {result.body.get("provider") for result in first} == {"anthropic"}
        assert (kind, len(calls)) == (kind, MIN_FAILURES)


@claim("breakers.counts.broken-streams", proves=[promises.BREAKER_COUNTS], needs=NEEDS, env=ALONE)
def test_streams_that_break_in_the_middle_open_it_like_any_failure(target: Target) -> None:
    provider = target.provider(PROVIDER)

    for kind, broken in BROKEN_STREAMS.items():
        user, already = target.new_user("enterprise"), len(provider.journal())
        provider.reply(chunks=BEGINNING, **broken)
        ask = partial(target.chat, user, "hello", stream=True)
        first = together(MIN_FAILURES - 1, ask)
        before = state(target)
        opened_by(kind, target, ask)
        calls, spared = provider.journal()[already:], ask()
        provider.clear_rules()
        recovered(target, user)

        assert (kind, before) == (kind, CLOSED)
        assert {result.code for result in first} == {"no_provider_available"}
        assert (kind, len(calls)) == (kind, MIN_FAILURES)
        assert (spared.is_whole, spared.body.get("provider")) == (True, "anthropic")


@claim(
    "breakers.counts.unreachable",
    proves=[promises.BREAKER_COUNTS],
    needs=[*NEEDS, can.FAULTS],
    env=ALONE,
    faults=["openai"],
)
def test_a_provider_that_refuses_connections_opens_it_after_five(target: Target) -> None:
    user = target.new_user("pro")

    with target.faults.refuse(PROVIDER):
        first = asked(target, user, MIN_FAILURES - 1)
        before = state(target)
        opened_by("a refused connection", target, lambda: target.chat(user, "hello"))
        parent = parents_state(target)

    assert before == CLOSED
    # Open, or half open by now, since nobody tries it.
    assert parent in {OPEN, HALF_OPEN}
    assert {result.body.get("provider") for result in first} == {"anthropic"}


@claim("breakers.counts.callers-fault", proves=[promises.BREAKER_COUNTS], needs=NEEDS, env=SINGLE)
def test_the_callers_mistakes_and_callers_who_leave_open_nothing(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)

    for status in CALLERS_FAULT:
        provider.clear_rules()
        provider.fail(status)
        together(OFTEN, lambda: target.chat(user, "hello"))
    provider.clear_rules()
    provider.reply(hold="wait")
    together(OFTEN, lambda: target.chat(user, "hello", timeout_s=LEAVES_AFTER_S))
    eventually(
        provider.journal,
        until=lambda calls: not any(call.held for call in calls),
        within_s=5.0,
        claim="the calls of callers who left are over",
    )
    provider.clear_rules()
    provider.release("wait")

    assert state(target) == CLOSED
    assert asked(target, user, 1)[0].body["provider"] == PROVIDER


@claim("breakers.counts.blocked", proves=[promises.BREAKER_COUNTS], needs=NEEDS, env=SINGLE)
def test_answers_that_moderation_stops_open_nothing(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)
    provider.reply(chunks=BEGINNING, finish_reason="content_filter")

    plain = asked(target, user, OFTEN)
    streamed = together(OFTEN, lambda: target.chat(user, "hello", stream=True))
    results = [*plain, *streamed]

    assert state(target) == CLOSED
    assert {result.body.get("provider") for result in results} == {PROVIDER}
    assert {result.body.get("finish_reason") for result in results} == {"content_filter"}


@claim("breakers.counts.half", proves=[promises.BREAKER_OPENS], needs=NEEDS, env=ALONE)
def test_when_half_of_the_attempts_failed_it_opens_and_not_before(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)

    asked(target, user, MIN_FAILURES)
    provider.fail(500)
    asked(target, user, MIN_FAILURES - 1)
    before = state(target)
    opened_by("every second attempt", target, lambda: target.chat(user, "hello"))
    calls = provider.journal()

    assert before == CLOSED
    assert [call.status for call in calls] == [200] * MIN_FAILURES + [500] * MIN_FAILURES


@claim("breakers.counts.threshold", proves=[promises.BREAKER_OPENS], needs=NEEDS, env=SINGLE)
def test_fewer_than_five_failures_or_less_than_half_of_the_attempts_open_nothing(
    target: Target,
) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)

    for _ in range(MIN_FAILURES + 2):
        provider.fail(500, times=1)
        asked(target, user, 1)
        asked(target, user, 3)
    diluted = state(target)
    provider.fail(500, times=MIN_FAILURES - 1)
    asked(target, user, MIN_FAILURES - 1)
    calls = provider.journal()

    assert (diluted, state(target)) == (CLOSED, CLOSED)
    failed = [call for call in calls if call.status == 500]
    assert len(failed) == MIN_FAILURES + 2 + MIN_FAILURES - 1


@claim(
    "breakers.cool-down.retry-after",
    proves=[promises.BREAKER_COOLS_DOWN, promises.RETRY_AFTER_HONOURED],
    needs=NEEDS,
    env=SINGLE,
)
def test_a_credential_that_is_limited_rests_as_long_as_was_asked_and_nobody_waits_for_it(
    target: Target,
) -> None:
    user = target.new_user("enterprise")

    for form, (header, rest_s) in WAITS.items():
        passed_on_s, rested_s, ping_s = limited(target, user, form, header())
        if passed_on_s >= rest_s / 2 and ping_s > rest_s / 4:
            raise UnknownVerdict(f"a ping took {ping_s:.2f} s, expected {rest_s / 4:g} s")
        assert (form, passed_on_s < rest_s / 2, rested_s >= rest_s) == (form, True, True)

    assert state(target) == CLOSED


def limited(
    target: Target, user: User, form: str, header: dict[str, str]
) -> tuple[float, float, float]:
    """After which times a limited call was passed on, and its provider asked again; and a ping."""
    provider, mark, pings_s = target.provider(PROVIDER), target.name(form), [0.0]
    provider.reply(contains=mark, times=1, status=429, headers=header)

    with meanwhile(lambda: pings_s.append(target.http.get(LIVE.path).seconds), every_s=0.05):
        first = target.chat(user, mark)
    calls = eventually(
        lambda: (target.chat(user, mark), provider.journal(contains=mark))[1],
        until=lambda calls: len(calls) >= 2,
        within_s=10.0,
        claim=f"it is asked again after a rest that was asked for in {form}",
        every_s=0.1,  # who waits long must not use up a limit
    )

    assert first.body.get("provider") == "anthropic"
    instead = target.provider("anthropic").journal(contains=mark)[0]
    limited_s, again_s = (call.arrived_s for call in calls[:2])
    return instead.arrived_s - limited_s, again_s - limited_s, max(pings_s)


@claim(
    "breakers.cool-down.everywhere",
    proves=[promises.BREAKER_COOLS_DOWN],
    needs=[*NEEDS, can.WORKERS],
    env=SINGLE,
    workers=2,
)
def test_a_credential_that_is_limited_rests_on_every_worker(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)
    provider.reply(times=1, status=429, headers={"retry-after": f"{LONG_REST_S:g}"})

    target.chat(user, "hello")
    let_pass(bounds().breaker_open_within_s, because="the news goes from worker to worker")
    with ExitStack() as kept:
        ways = [kept.enter_context(target.at_worker(one)) for one in target.reach_all_workers()]
        results = [target.chat(user, "hello", http=way) for way in ways * 4]
    calls = provider.journal()

    if max(result.answer.done_s for result in results) > calls[0].arrived_s + LONG_REST_S:
        raise UnknownVerdict("the machine was slow: the rest was over before all had asked")
    require_every_worker((result.served_by for result in results), target.workers_wanted)
    assert {result.body.get("provider") for result in results} == {"anthropic"}
    assert len(calls) == 1


@claim("breakers.cool-down.quota", proves=[promises.BREAKER_COOLS_DOWN], needs=NEEDS, env=SINGLE)
@pytest.mark.parametrize("kind", OUT_OF_MONEY)
def test_an_exhausted_quota_is_asked_once_and_then_left_alone(kind: str, target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)
    status, error = OUT_OF_MONEY[kind]
    provider.reply(status=status, body={"error": error})

    results = [target.chat(user, "hello") for _ in range(6)]

    assert {result.body.get("provider") for result in results} == {"anthropic"}
    assert len(provider.journal()) == 1


@claim(
    "breakers.cool-down.odd-headers",
    proves=[promises.RETRY_AFTER_HONOURED],
    needs=NEEDS,
    env={"S4_MAX_WALL_CLOCK": "2", **SINGLE},
)
def test_an_odd_retry_after_is_no_server_error_and_outlasts_no_request(target: Target) -> None:
    user = target.new_user("enterprise")
    odd = ["abc", "-1", "", "1e9", "Wed, 21 Oct 2015 07:28:00 GMT", "9" * 40, "86400"]

    results = []
    for value in odd:
        for name in target.providers:
            target.provider(name).clear_rules()
            target.provider(name).reply(times=2, status=429, headers={"retry-after": value})
        results.append(target.chat(user, "hello", timeout_s=12.0))

    wrong = {
        value: str(result.answer)
        for value, result in zip(odd, results, strict=True)
        if result.status not in {200, 503, 504} or result.error
    }
    assert json.dumps(wrong) == "{}"


@claim("breakers.all-open", proves=[promises.ALL_OPEN, promises.FALLBACK], needs=NEEDS, env=SINGLE)
def test_with_every_provider_open_callers_are_told_at_once_and_served_when_one_is_back(
    target: Target,
) -> None:
    user = target.new_user("enterprise")
    for name in target.providers:
        target.provider(name).fail(503)
    opened(target, user)
    eventually(
        lambda: (asked(target, user, 4), target.component("provider:anthropic")["state"])[1],
        until=lambda seen: seen == "down",
        within_s=OPENS_WITHIN_S,
        claim="both breakers are open",
    )

    refused = target.chat(user, "hello")
    for name in target.providers:
        target.provider(name).clear_rules()
    served = eventually(
        lambda: target.chat(user, "hello"),
        until=lambda result: result.is_whole,
        within_s=15.0,
        claim="callers are served again",
    )

    assert (refused.status, refused.code) == (503, "no_provider_available")
    assert (refused.answer.retry_after_s or 0) >= 1
    assert served.status == 200
