"""A streamed chat request: whole or visibly broken, never two answers in one."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from llmhive.app.orchestration.attempts import NoProviderError
from llmhive.app.orchestration.chat import StreamBrokenError
from llmhive.app.orchestration.context import RequestContext
from llmhive.app.orchestration.model import (
    DoneEvent,
    FinishReason,
    StreamEnd,
    StreamEvent,
    TokenEvent,
    Usage,
)
from llmhive.app.orchestration.retries import AttemptEnd
from llmhive.tests.orchestration.chat_parts import (
    ASK,
    END,
    HANG,
    USAGE,
    Ada,
    After,
    Piece,
    Scene,
    ScriptedProvider,
    failure,
)
from llmhive.tests.orchestration.virtual_time import in_virtual_time

CUT = failure(AttemptEnd.INCOMPLETE)


def two(*first: Piece, then: list[Piece]) -> tuple[ScriptedProvider, ScriptedProvider]:
    """A first provider that streams `first` at every call, and a second one."""
    return (
        ScriptedProvider(streams=[list(first)] * 3),
        ScriptedProvider("anthropic", "claude", streams=[then]),
    )


async def told(scene: Scene, context: RequestContext | None = None) -> list[StreamEvent]:
    """All events of one stream, until it ends or breaks."""
    events: list[StreamEvent] = []
    async with aclosing(scene.chat.stream(ASK, Ada(), context or scene.context())) as stream:
        try:
            async for event in stream:
                events.append(event)  # noqa: PERF401  what came before the break counts
        except StreamBrokenError:
            events.append(TokenEvent("[broken]"))
    return events


def texts(events: list[StreamEvent]) -> list[str]:
    return [event.text if isinstance(event, TokenEvent) else "[done]" for event in events]


@in_virtual_time
async def test_a_stream_is_its_texts_and_one_done() -> None:
    scene = Scene([ScriptedProvider(streams=[["", "he", "", "llo", END]])])

    events = await told(scene)

    assert texts(events) == ["he", "llo", "[done]"]
    assert isinstance(events[-1], DoneEvent)
    assert (events[-1].answer.usage, events[-1].answer.reply) == (USAGE, None)


@in_virtual_time
async def test_a_whole_stream_is_one_success_and_one_settlement() -> None:
    scene = Scene([ScriptedProvider(streams=[["hello", END]])])

    await told(scene)

    assert (scene.breakers.reports, scene.limiter.settled) == (["success"], [12])
    assert scene.observer.attempts == [("openai", "success")]


@in_virtual_time
async def test_the_seat_is_free_when_done_is_told() -> None:
    scene = Scene([ScriptedProvider(streams=[["hello", END]])])
    seats: list[int] = []

    async with aclosing(scene.chat.stream(ASK, Ada(), scene.context())) as stream:
        async for _ in stream:
            seats.append(scene.limiter.open_seats)  # noqa: PERF401  a reading at each event

    assert seats == [1, 0]


@in_virtual_time
async def test_the_breaker_hears_of_success_at_the_end_only() -> None:
    scene = Scene([ScriptedProvider(streams=[["he", "llo", END]])])
    stream = scene.chat.stream(ASK, Ada(), scene.context())

    await anext(stream)
    reports = list(scene.breakers.reports)
    await stream.aclose()

    assert reports == [None]


@in_virtual_time
async def test_a_stream_without_usage_is_charged_by_estimate() -> None:
    end = StreamEnd(FinishReason.STOP, None)
    scene = Scene([ScriptedProvider(streams=[["x" * 200, "x" * 200, end]])])

    await told(scene)

    assert scene.observer.usages == [Usage(3, 101)]


@in_virtual_time
async def test_an_empty_answer_is_an_answer() -> None:
    end = StreamEnd(FinishReason.CONTENT_FILTER, USAGE)
    scene = Scene([ScriptedProvider(streams=[["", end]])])

    events = await told(scene)

    assert texts(events) == ["[done]"]
    assert isinstance(events[0], DoneEvent)
    assert events[0].answer.is_partial


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(["", CUT], id="cut"),
        pytest.param([failure(AttemptEnd.SERVER_ERROR)], id="broken"),
        pytest.param([""], id="ended-without-end"),
    ],
)
@in_virtual_time
async def test_before_the_first_text_another_provider_is_tried(first: list[Piece]) -> None:
    providers = two(*first, then=["hello", END])
    scene = Scene(providers)

    events = await told(scene)

    assert texts(events) == ["hello", "[done]"]
    assert [len(each.called_at) for each in providers] == [3, 1]


@in_virtual_time
async def test_a_silent_provider_is_left_when_its_first_text_takes_too_long() -> None:
    first, second = two("", After(14, ""), After(14, ""), After(14, "late"), then=["hello", END])
    scene = Scene([first, second])

    events = await told(scene)

    assert texts(events) == ["hello", "[done]"]
    assert second.called_at[0] - first.called_at[0] == pytest.approx(30, abs=0.001)
    assert scene.breakers.reports == ["fail:timed_out", "success"]


@pytest.mark.parametrize(
    ("rest", "report"),
    [
        pytest.param([CUT], "fail:incomplete", id="cut"),
        pytest.param([], "fail:incomplete", id="ended-without-end"),
        pytest.param([HANG], "fail:timed_out", id="silent"),
    ],
)
@in_virtual_time
async def test_after_the_first_text_a_broken_stream_stays_broken(
    rest: list[Piece], report: str
) -> None:
    first, second = two("he", *rest, then=[])
    scene = Scene([first, second])

    events = await told(scene)

    assert texts(events) == ["he", "[broken]"]
    assert scene.breakers.reports == [report]
    assert (second.called_at, scene.limiter.settled) == ([], [4])


@in_virtual_time
async def test_silence_between_texts_is_bounded() -> None:
    provider = ScriptedProvider(streams=[["he", HANG]])
    scene = Scene([provider])

    await told(scene)

    passed_s = asyncio.get_running_loop().time() - provider.called_at[0]
    assert passed_s == pytest.approx(15, abs=0.001)


@in_virtual_time
async def test_a_long_stream_that_goes_on_is_not_cut() -> None:
    steady = [After(14, word) for word in ("a", "", "b", "", "c", "d")]
    scene = Scene([ScriptedProvider(streams=[[*steady, END]])])

    events = await told(scene)

    assert texts(events) == ["a", "b", "c", "d", "[done]"]


@in_virtual_time
async def test_nobody_answering_is_told_before_the_stream_begins() -> None:
    scene = Scene([ScriptedProvider(streams=[[CUT]] * 3)])

    with pytest.raises(NoProviderError):
        await told(scene)

    assert scene.limiter.settled == [0]


@in_virtual_time
async def test_nothing_is_read_ahead_of_the_caller() -> None:
    provider = ScriptedProvider(streams=[["a", "b", "c", "d", END]])
    scene = Scene([provider])
    stream = scene.chat.stream(ASK, Ada(), scene.context())

    for _ in range(2):
        await anext(stream)
    pulled = provider.pulled
    await stream.aclose()

    assert pulled == 2


@pytest.mark.parametrize(
    ("pieces", "settled"),
    [
        pytest.param([HANG], [0], id="before-the-first-text"),
        pytest.param(["he", HANG], [4], id="after-the-first-text"),
    ],
)
@in_virtual_time
async def test_a_caller_that_leaves_ends_the_providers_call(
    pieces: list[Piece], settled: list[int]
) -> None:
    provider = ScriptedProvider(streams=[pieces])
    scene = Scene([provider])

    with pytest.raises(asyncio.CancelledError):
        await told(scene, scene.context(leaves_after_s=2))

    assert provider.hung_up >= 1
    assert scene.breakers.reports == ["neutral"]
    assert scene.limiter.settled == settled


@in_virtual_time
async def test_a_stream_that_is_closed_early_gives_everything_back() -> None:
    provider = ScriptedProvider(streams=[["he", "llo", END]])
    scene = Scene([provider])
    stream = scene.chat.stream(ASK, Ada(), scene.context())

    await anext(stream)
    await stream.aclose()

    assert (provider.hung_up, scene.limiter.open_seats) == (1, 0)
    assert scene.observer.attempts == [("openai", "cancelled")]


@in_virtual_time
async def test_a_streams_probe_may_last_as_long_as_the_request() -> None:
    scene = Scene([ScriptedProvider(streams=[["hello", END]])], wall_clock_s=77)

    await told(scene)

    assert scene.breakers.leases == [pytest.approx(77, abs=0.001)]
