"""Streams that end once, twice or never, early, in time or late."""

from __future__ import annotations

import pytest

from verification.checkers.streams import (
    EndsByTheWallClock,
    SaysWhatTheProviderSaid,
    StreamsEndOnce,
)
from verification.history import History, Outcome
from verification.selftest.checkers.broken_histories import chat, control

WALL = "wall_clock_exhausted"


def ended(*events: str, error: str | None = None) -> bool | None:
    """What is said of one stream beside a whole one."""
    history = History()
    chat(history, 0.0, stream=True, events=["token", "done"])
    outcome = Outcome.OK if events[-1:] == ("done",) else Outcome.INFO
    chat(history, 1.0, outcome=outcome, stream=True, events=list(events), error=error)
    return StreamsEndOnce()(history).valid


@pytest.mark.parametrize("events", [("token", "done"), ("token", "error"), ("error",), ("done",)])
def test_a_stream_with_one_end_is_as_promised(events: tuple[str, ...]) -> None:
    assert ended(*events) is True


@pytest.mark.parametrize(
    "events", [("token", "done", "done"), ("error", "done"), ("done", "token"), ("token",), ()]
)
def test_a_stream_with_two_ends_or_none_or_something_after_it_is_not(
    events: tuple[str, ...],
) -> None:
    assert ended(*events) is False


def test_a_stream_that_was_left_or_cut_may_end_anywhere_but_not_twice() -> None:
    assert ended("token", error="left") is True
    assert ended("done", "done", error="closed") is False


def test_without_a_stream_that_was_read_to_its_end_nobody_can_say() -> None:
    history = History()
    chat(history, 0.0, stream=True, events=["token"], error="left", outcome=Outcome.INFO)

    assert StreamsEndOnce()(history).valid is None


@pytest.mark.parametrize(
    ("seconds", "valid"), [(1.8, False), (1.95, True), (3.2, True), (3.3, False)]
)
def test_a_request_may_not_outlast_the_wall_clock_nor_be_cut_before_it(
    seconds: float, valid: object
) -> None:
    history = History()
    control(history, 0.0, 0.25)
    chat(history, 1.0, seconds, Outcome.INFO, code=WALL)

    assert EndsByTheWallClock(2.0)(history).valid is valid


def test_requests_that_never_reach_the_wall_clock_say_nothing_of_it() -> None:
    history = History()
    chat(history, 1.0, 0.5)

    assert EndsByTheWallClock(2.0)(history).valid is None


@pytest.mark.parametrize(
    ("reply", "outcome", "valid"),
    [
        ("one two", Outcome.OK, True),
        ("one", Outcome.OK, False),
        ("one one two", Outcome.OK, False),
        ("one ", Outcome.INFO, True),
        ("one one", Outcome.INFO, False),
    ],
)
def test_a_whole_answer_is_the_text_and_a_broken_one_its_beginning(
    reply: str, outcome: Outcome, valid: object
) -> None:
    history = History()
    chat(history, 0.0, reply="one two")
    chat(history, 1.0, outcome=outcome, reply=reply)

    assert SaysWhatTheProviderSaid("one two")(history).valid is valid


def test_without_a_whole_answer_nobody_can_say_what_it_would_be() -> None:
    history = History()
    chat(history, 0.0, outcome=Outcome.INFO, reply="one")

    assert SaysWhatTheProviderSaid("one two")(history).valid is None
