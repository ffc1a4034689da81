"""What comes late: failures of an earlier stay, failures of before the window, a shorter rest."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from verification.contract import promises
from verification.contract.breakers import MIN_FAILURES
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.waiting import eventually, let_pass, meanwhile, now_s, together
from verification.suites.breakers.circuit import (
    BREAKER,
    CLOSED,
    OPEN,
    PROVIDER,
    RECOVERS_WITHIN_S,
    TRANSITIONS,
    asked,
    opened,
    recovered,
    state,
)
from verification.verdict import UnknownVerdict

if TYPE_CHECKING:
    from verification.harness.chat_result import ChatResult
    from verification.harness.target import Target

NEEDS = [can.USERS, can.SCRIPT]
# A window that a claim can wait for, and a time-out that is longer than calls are held.
WINDOW_S, TIMEOUT_S = 2.0, 11.0
PATIENT = {
    "RETRY_ATTEMPTS": "1",
    "S4_LLM_TIMEOUT": f"{TIMEOUT_S:g}",
    "BREAKER_WINDOW_S": f"{WINDOW_S:g}",
}
# A stream is held for longer than the probe of a plain call may last: its time-out and a second.
CALL_S, HELD_S = 1.5, 4.0
HASTY = {
    "RETRY_ATTEMPTS": "1",
    "S4_LLM_TIMEOUT": f"{CALL_S:g}",
    "S4_STREAM_IDLE_TIMEOUT": "10",
}
# Twice as many as open it, so that a few successes beside them change nothing.
LATE = 2 * MIN_FAILURES
# What two answers ask for, in this order.
LONGER_S, SHORTER_S = 4.0, 1.0


@claim("breakers.closes.late-failures", proves=[promises.BREAKER_CLOSES], needs=NEEDS, env=PATIENT)
def test_failures_of_calls_from_before_it_opened_change_nothing_once_it_is_closed(
    target: Target,
) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)
    provider.reply(times=LATE, hold="late", status=500)

    began_s = now_s()
    with meanwhile(lambda: together(LATE, lambda: target.chat(user, "late"))):
        provider.wait_for_held(LATE, within_s=RECOVERS_WITHIN_S, gate="late")
        provider.fail(500)
        opened(target, user)
        provider.clear_rules()
        recovered(target, user)
        released = provider.release("late")
    if released < LATE and now_s() - began_s > TIMEOUT_S / 2:
        raise UnknownVerdict(f"the machine was slow: only {released} calls were held to the end")
    results = asked(target, user)

    assert released == LATE
    assert state(target) == CLOSED
    assert {result.body.get("provider") for result in results} == {PROVIDER}


@claim("breakers.counts.window", proves=[promises.BREAKER_OPENS], needs=NEEDS, env=PATIENT)
def test_failures_that_have_left_the_window_open_nothing_with_later_ones(target: Target) -> None:
    user, provider = target.new_user("pro"), target.provider(PROVIDER)
    provider.fail(500)

    asked(target, user, MIN_FAILURES - 1)
    let_pass(1.25 * WINDOW_S, because="the failures leave the window")
    asked(target, user, MIN_FAILURES - 1)

    assert state(target) == CLOSED
    assert len(provider.journal()) == 2 * (MIN_FAILURES - 1)


@claim("breakers.cool-down.longest", proves=[promises.BREAKER_COOLS_DOWN], needs=NEEDS, env=PATIENT)
def test_a_shorter_rest_asked_for_later_does_not_shorten_a_longer_one(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)
    rests = {"longer": LONGER_S, "shorter": SHORTER_S}
    for gate, rest_s in rests.items():
        told = {"retry-after": f"{rest_s:g}"}
        provider.reply(times=1, contains=gate, status=429, headers=told, hold=gate)

    with ExitStack() as both:
        for gate in rests:
            both.enter_context(meanwhile(partial(target.chat, user, gate)))
        for gate in rests:
            provider.wait_for_held(1, within_s=10.0, gate=gate)
        released_s = now_s()
        for gate in rests:
            provider.release(gate)
            target.provider("anthropic").wait_for_calls(1, within_s=10.0, contains=gate)
    calls = eventually(
        lambda: (target.chat(user, "hello"), provider.journal())[1],
        until=lambda calls: len(calls) > len(rests),
        within_s=LONGER_S + 6.0,
        claim="it is asked again after its rest",
        every_s=0.1,  # who waits long must not use up a limit
    )

    assert [call.status for call in calls[:2]] == [429, 429]
    assert calls[2].arrived_s - released_s >= LONGER_S


@claim(
    "breakers.probes.long-stream",
    proves=[promises.BREAKER_PROBES],
    needs=[*NEEDS, can.METRICS],
    env=HASTY,
)
def test_a_probe_that_streams_for_longer_than_a_call_may_last_is_no_failure(
    target: Target,
) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)
    provider.fail(500)
    opened(target, user)
    openings = target.metrics().sum(TRANSITIONS, service=BREAKER, to=OPEN)
    streams: list[ChatResult] = []

    provider.clear_rules()
    provider.reply(chunks=["some ", "more"], hold="rest", hold_after_chunks=1)
    with meanwhile(lambda: streams.append(target.chat(user, "hello", stream=True)), every_s=0.1):
        provider.wait_for_held(1, within_s=RECOVERS_WITHIN_S, gate="rest")
        let_pass(HELD_S, because="a plain call's probe would have expired by then")
        provider.release("rest")
    openings_later = target.metrics().sum(TRANSITIONS, service=BREAKER, to=OPEN)

    probes = [one for one in streams if one.body.get("provider") == PROVIDER]
    assert [(one.is_whole, one.reply) for one in probes[:1]] == [(True, "some more")]
    assert openings_later == openings
