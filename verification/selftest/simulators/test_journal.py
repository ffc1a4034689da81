"""The journal's bounds: the oldest go first, counted, and a reader who wants all is told."""

from __future__ import annotations

import pytest

from verification.harness.simulated import Simulator, SimulatorError
from verification.selftest.simulators.callers import ask
from verification.selftest.stack import peers
from verification.simulators.http_request import Request
from verification.simulators.journal import Journal


def call(body: bytes = b"") -> Request:
    """A call."""
    return Request("POST", "/x", is_http_1_0=False, headers={}, head=b"POST", body=body)


def test_a_full_journal_drops_the_oldest_and_counts_them() -> None:
    journal = Journal(calls_max=2)

    for _ in range(5):
        journal.arrive(call(), None)

    assert [entry.index for entry in journal.since()] == [3, 4]
    assert journal.dropped == 3


def test_a_journal_is_bounded_in_bytes_too() -> None:
    journal = Journal(bytes_max=1000)

    for _ in range(3):
        journal.arrive(call(b"x" * 400), None)

    assert [entry.index for entry in journal.since()] == [1, 2]


def test_a_forgotten_journal_is_whole_again_and_gives_no_index_twice() -> None:
    journal = Journal(calls_max=1)
    for _ in range(2):
        journal.arrive(call(), None)

    journal.forget()
    journal.arrive(call(), None)

    assert ([entry.index for entry in journal.since()], journal.dropped) == ([2], 0)


def test_calls_are_found_by_index_and_by_text(openai: Simulator) -> None:
    for text in ("one", "two", "three"):
        ask(openai, text)
    first = openai.journal()[0].index

    assert [call.index - first for call in openai.journal(since=first + 1)] == [1, 2]
    assert [call.index - first for call in openai.journal("three")] == [2]


@pytest.mark.parametrize("text", ['said "so"', "grüße", "two\nlines"])
def test_calls_are_found_by_a_text_that_json_spells_otherwise(openai: Simulator, text: str) -> None:
    ask(openai, f"before {text} after")
    ask(openai, "another")

    assert len(openai.journal(text)) == 1


@pytest.mark.parametrize(
    "said",
    [
        b'{"calls": [], "dropped": 3, "troubles": []}',
        b'{"calls": [], "dropped": 0, "troubles": ["it fell over"]}',
    ],
    ids=["overflowed", "in trouble"],
)
def test_a_journal_that_is_not_all_of_it_is_an_error(said: bytes) -> None:
    with peers.peer(peers.answers(said)) as url, pytest.raises(SimulatorError):
        Simulator("openai", url, key="k").journal()
