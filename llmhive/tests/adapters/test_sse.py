"""Server-sent events come out the same, however their bytes were cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmhive.app.adapters.sse import EVENT_BYTES_MAX, SseEvent, SseOverflowError, SseParser

WIRE = (
    ": keep-alive\r\n"
    "event: token\r\n"
    'data: {"text": "größer 漢字 👩‍👩‍👧 e\u0301"}\r\n'
    "\r\n"
    "data: first\n"
    "data:second\n"
    "id: 7\n"
    "retry: 10\n"
    "\n"
    ": PROCESSING\n\n"
    "event: lonely\n\n"
    "data\r"
    "\r"
    "data: [DONE]\n\n"
).encode()
EVENTS = [
    SseEvent(b"token", '{"text": "größer 漢字 👩‍👩‍👧 e\u0301"}'.encode()),
    SseEvent(b"message", b"first\nsecond"),
    SseEvent(b"message", b""),
    SseEvent(b"message", b"[DONE]"),
]


def events_of(*pieces: bytes) -> list[SseEvent]:
    parser = SseParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def test_events_are_read_as_the_standard_says() -> None:
    assert events_of(WIRE) == EVENTS


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_events_are_the_same_in_pieces_of_any_size(size: int) -> None:
    pieces = [WIRE[at : at + size] for at in range(0, len(WIRE), size)]

    assert events_of(*pieces) == EVENTS


@given(cuts=st.sets(st.integers(0, len(WIRE))))
def test_events_are_the_same_wherever_the_bytes_are_cut(cuts: set[int]) -> None:
    places = [0, *sorted(cuts), len(WIRE)]
    pieces = [WIRE[start:end] for start, end in itertools.pairwise(places)]

    assert events_of(*pieces) == EVENTS


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end_of_the_standard_ends_a_line(end: bytes) -> None:
    assert events_of(b"data: a" + end + b"data: b" + end + end) == [SseEvent(b"message", b"a\nb")]


def test_an_event_without_its_blank_line_is_none() -> None:
    assert events_of(b"data: a\n\ndata: b\n") == [SseEvent(b"message", b"a")]


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    assert events_of(b"\xef\xbb", b"\xbfdata: a\n\n") == [SseEvent(b"message", b"a")]


def test_events_before_a_monstrous_line_are_still_given() -> None:
    parser = SseParser()
    feed = parser.feed(b"data: a\n\n" + b"x" * (EVENT_BYTES_MAX + 1))

    first = next(feed)

    assert first.data == b"a"


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(b"data: " + b"x" * 1000, id="one-line"),
        pytest.param(b"data: " + b"x" * 1000 + b"\n", id="many-lines"),
    ],
)
def test_an_event_without_end_is_refused(piece: bytes) -> None:
    with pytest.raises(SseOverflowError):
        events_of(*[piece] * (EVENT_BYTES_MAX // 1000 + 2))
