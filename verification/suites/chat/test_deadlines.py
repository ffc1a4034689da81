"""Every request ends in time, and a caller that leaves takes nothing along."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

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
# A request that is not ended takes this many times the bound.
LASTS_S = 20.0
CALLERS = 7
# Whoever leaves must have come as far as the provider before.
LEAVES_AFTER_S = 0.8


def median_s(seconds: list[float]) -> float:
    """The middle of them."""
    return sorted(seconds)[len(seconds) // 2]


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
    assert median_s([one.answer.seconds for one in results]) <= 2 * WALL_S + control_s


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
    assert median_s([one.answer.seconds for one in results]) <= 2 * WALL_S + control_s


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
    assert median_s([one.answer.seconds for one in results]) <= 2 * WALL_S + control_s


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

    left: list[ChatResult] = []
    for is_stream in (False, True):
        leave = partial(target.chat, user, "first", stream=is_stream, timeout_s=LEAVES_AFTER_S)
        left += together(FREE.in_flight, leave)
        idle(target)
    left += together(
        FREE.in_flight,
        lambda: target.chat(user, "mid", stream=True, leave_when=lambda body: b"some" in body),
    )
    idle(target)
    calls = eventually(
        provider.journal,
        until=lambda seen: all(call.hung_up_s is not None for call in seen),
        within_s=5.0,
        claim="the provider has seen every caller leave",
    )
    served = target.chat(user, "hello")

    if len(calls) < len(left):
        raise UnknownVerdict(f"{len(calls)} of {len(left)} requests came as far as the provider")
    assert [call.hung_up_s is not None for call in calls] == [True] * (3 * FREE.in_flight)
    late = [gone for gone in gone_after_s(left, calls) if gone > bounds().caller_left_within_s]
    # One that was late may be the machine's doing; half of them are the service's.
    assert len(late) <= len(calls) // 2
    assert served.is_whole


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
