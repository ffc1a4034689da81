"""Every request ends in time, and a caller that leaves takes nothing along."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from verification.contract import promises
from verification.contract.bounds import bounds
from verification.contract.tiers import FREE
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.waiting import eventually, meanwhile, together
from verification.suites.chat.test_fallbacks import NEEDS
from verification.verdict import UnknownVerdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from verification.harness.answer import Answer
    from verification.harness.chat_result import ChatResult
    from verification.harness.simulated import Call
    from verification.harness.target import Target
    from verification.harness.users import User

WALL_S = 1.5
# Only the wall clock can end what these claims let hang.
WALL = {
    "S4_MAX_WALL_CLOCK": f"{WALL_S:g}",
    "S4_LLM_TIMEOUT": "30",
    "S4_STREAM_IDLE_TIMEOUT": "30",
    "BREAKER_MIN_FAILURES": "1000",
    # A wait that a provider asks for is granted, if it fits.
    "RETRY_CAP_S": "8",
}
CALL_S = 1.0
# Only the time-out of a call can end what hangs here.
TIMED = {
    "S4_LLM_TIMEOUT": f"{CALL_S:g}",
    "S4_MAX_WALL_CLOCK": "30",
    "S4_STREAM_IDLE_TIMEOUT": "30",
    "BREAKER_MIN_FAILURES": "1000",
    "RETRY_ATTEMPTS": "1",
    "RETRY_BUDGET_START": "1000",
}
# Clocks of two processes, and a timer's own tick.
EARLY_S = 0.05
# What a call of a provider may be waiting for; each lasts far beyond the time-out.
SLOW: dict[str, dict[str, Any]] = {
    "silence": {"hang": True},
    "a body that drips": {"text": "x" * 200, "split_bytes": 1, "chunk_delay_s": 0.1},
}
# A request that is not ended takes this many times the bound.
LASTS_S = 20.0
CALLERS = 7
# Whoever leaves must have come as far as the provider before.
LEAVES_AFTER_S = 0.8


def median_s(seconds: list[float]) -> float:
    """The middle of them."""
    return sorted(seconds)[len(seconds) // 2]


def require_at_most(median: float, bound_s: float, control_s: float) -> None:
    """The median is within the bound and one control; a control of half the bound tells nothing.

    Raises: AssertionError, UnknownVerdict.
    """
    if control_s > bound_s / 2:
        raise UnknownVerdict(f"a control took {control_s:.2f} s, beside a bound of {bound_s:g} s")
    assert median <= bound_s + control_s


def beside(target: Target, act: Callable[[], ChatResult]) -> tuple[list[ChatResult], float]:
    """What seven callers got, and the slowest control ping meanwhile, in seconds."""
    pings: list[Answer] = []
    with meanwhile(lambda: pings.append(target.http.get("/api/health/live")), every_s=0.05):
        results = together(CALLERS, act)
    return results, max(ping.seconds for ping in pings)


@claim("chat.wall-clock.plain", proves=[promises.WALL_CLOCK], needs=NEEDS, env=WALL)
def test_a_plain_answer_ends_by_the_wall_clock(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(target.providers[0])
    provider.reply(hang=True)

    results, control_s = beside(target, lambda: target.chat(user, "hello", timeout_s=LASTS_S))

    assert {(one.status, one.code) for one in results} == {(504, "wall_clock_exhausted")}
    require_at_most(median_s([one.answer.seconds for one in results]), 2 * WALL_S, control_s)


@claim("chat.wall-clock.dripping", proves=[promises.WALL_CLOCK], needs=NEEDS, env=WALL)
def test_a_dripping_stream_ends_by_the_wall_clock_with_an_error_event(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(target.providers[0])
    provider.reply(chunks=["drip "] * int(LASTS_S * 10), chunk_delay_s=0.1)

    results, control_s = beside(
        target, lambda: target.chat(user, "hello", stream=True, timeout_s=LASTS_S)
    )

    ends = [[event.event for event in one.events if event.event != "token"] for one in results]
    assert ends == [["error"]] * CALLERS
    assert {one.code for one in results} == {"wall_clock_exhausted"}
    require_at_most(median_s([one.answer.seconds for one in results]), 2 * WALL_S, control_s)


@claim(
    "chat.wall-clock.no-late-attempt",
    proves=[promises.WALL_CLOCK, promises.RETRY_AFTER_HONOURED],
    needs=NEEDS,
    env=WALL,
)
def test_no_attempt_starts_after_the_wall_clock_whatever_wait_was_asked_for(
    target: Target,
) -> None:
    user = target.new_user("enterprise")
    for name in target.providers:
        target.provider(name).reply(status=503, headers={"retry-after": "6"})

    results, control_s = beside(target, lambda: target.chat(user, "hello", timeout_s=LASTS_S))
    calls = [call for name in target.providers for call in target.provider(name).journal()]

    sent_s = max(one.answer.sent_s for one in results)
    assert {one.status for one in results} <= {503, 504}
    assert [call for call in calls if call.arrived_s > sent_s + 2 * WALL_S + control_s] == []
    require_at_most(median_s([one.answer.seconds for one in results]), 2 * WALL_S, control_s)


@claim("chat.time-out.total", proves=[promises.LLM_TIMEOUT], needs=NEEDS, env=TIMED)
@pytest.mark.parametrize("kind", SLOW)
def test_a_call_of_a_provider_is_given_up_after_its_time_however_it_is_slow(
    kind: str, target: Target
) -> None:
    user, provider = target.new_user("enterprise"), target.provider(target.providers[0])
    provider.reply(**SLOW[kind])

    results, control_s = beside(target, lambda: target.chat(user, "hello", timeout_s=LASTS_S))
    calls = eventually(
        provider.journal,
        until=lambda seen: all(call.hung_up_s is not None for call in seen),
        within_s=LASTS_S,
        claim="the provider's calls were given up",
    )

    lasted_s = [(call.hung_up_s or 0.0) - call.arrived_s for call in calls]
    assert {result.body.get("provider") for result in results} == {target.providers[1]}
    assert len(lasted_s) == CALLERS
    assert min(lasted_s) >= CALL_S - EARLY_S - control_s
    require_at_most(median_s(lasted_s), 2 * CALL_S, control_s)


@claim("chat.time-out.not-early", proves=[promises.LLM_TIMEOUT], needs=NEEDS, env=TIMED)
def test_an_answer_within_the_time_out_is_waited_for(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(target.providers[0])
    provider.reply(delay_s=CALL_S / 2)

    results, control_s = beside(target, lambda: target.chat(user, "hello", timeout_s=LASTS_S))
    answered_by = [result.body.get("provider") for result in results]

    if control_s > CALL_S / 4:
        raise UnknownVerdict(f"a control took {control_s:.2f} s: the machine was too slow to tell")
    assert answered_by == [target.providers[0]] * CALLERS


@claim(
    "chat.caller-leaves.call-ends",
    proves=[promises.CALLER_LEAVES, promises.IN_FLIGHT],
    needs=[*NEEDS, can.METRICS],
)
def test_when_a_caller_leaves_the_providers_call_ends_and_everything_is_given_back(
    target: Target,
) -> None:
    user, provider = target.new_user(), target.provider(target.providers[0])
    provider.reply(times=2 * FREE.in_flight, hold="first", text="never")
    provider.reply(times=FREE.in_flight, chunks=["some ", "more"], hold="rest", hold_after_chunks=1)

    pings: list[Answer] = []
    with meanwhile(lambda: pings.append(target.http.get("/api/health/live")), every_s=0.05):
        left = all_left(target, user)
        calls = eventually(
            provider.journal,
            until=lambda seen: all(call.hung_up_s is not None for call in seen),
            within_s=5.0,
            claim="the provider has seen every caller leave",
        )
    served = target.chat(user, "hello")

    if len(calls) < len(left) * FREE.in_flight:
        raise UnknownVerdict(f"{len(calls)} requests came as far as the provider")
    control_s = max(ping.seconds for ping in pings)
    assert Counter(map(way_of, calls)) == dict.fromkeys(left, FREE.in_flight)
    for way, results in left.items():
        gone_s = gone_after_s(results, [call for call in calls if way_of(call) == way])
        # One of two that was late may be the machine's doing; both are the service's.
        require_at_most(min(gone_s), bounds().caller_left_within_s, control_s)
    assert served.is_whole


def all_left(target: Target, user: User) -> dict[str, list[ChatResult]]:
    """What callers got who left: as many as may be in flight, one way after the other."""
    ways: dict[str, Callable[[], ChatResult]] = {
        "plain": lambda: target.chat(user, "first", timeout_s=LEAVES_AFTER_S),
        "streamed": lambda: target.chat(user, "first", stream=True, timeout_s=LEAVES_AFTER_S),
        "in the middle": lambda: target.chat(
            user, "mid", stream=True, leave_when=lambda body: b"some" in body
        ),
    }
    left = {}
    for way, leave in ways.items():
        left[way] = together(FREE.in_flight, leave)
        idle(target)
    return left


def way_of(call: Call) -> str:
    """In which of these ways the caller of this call left."""
    if "mid" in call.text:
        return "in the middle"
    return "streamed" if call.body.get("stream") else "plain"


def idle(target: Target) -> None:
    """Wait until the service has nothing in flight but the scrape itself."""
    eventually(
        lambda: target.metrics().sum("llmhive_http_requests_in_flight"),
        until=lambda count: count <= 1,
        within_s=5.0,
        claim="nothing is in flight after the callers have left",
    )


def gone_after_s(left: list[ChatResult], calls: list[Call]) -> list[float]:
    """How long after its caller had left each call was hung up, in seconds."""
    return [
        (call.hung_up_s or float("inf")) - one.answer.done_s
        for one, call in zip(
            sorted(left, key=lambda one: one.answer.done_s),
            sorted(calls, key=lambda call: call.hung_up_s or float("inf")),
            strict=True,
        )
    ]
