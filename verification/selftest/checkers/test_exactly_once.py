"""Exactly once, on both sides of each bound, and against a slow oracle."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verification.checkers.exactly_once import AppliedExactlyOnce
from verification.history import History, Outcome

ROW = {"event": "evt_1", "invoice": "in_1", "kind": "invoice.paid", "amount": 900}


def delivered(
    history: History,
    at_s: float,
    outcome: Outcome = Outcome.OK,
    *,
    event: str = "evt_1",
    invoice: str | None = "in_1",
    user: str | None = "u",
) -> None:
    value = {"event": event, "user": user, "kind": "invoice.paid", "invoice": invoice}
    history.add(
        process="stripe",
        f="deliver",
        value=value,
        outcome=outcome,
        started_s=at_s,
        finished_s=at_s + 1,
    )


def read(history: History, at_s: float, *rows: dict[str, Any], user: str = "u") -> None:
    history.add(
        process="reader",
        f="ledger",
        value={"user": user, "entries": list(rows)},
        outcome=Outcome.OK,
        started_s=at_s,
        finished_s=at_s + 1,
    )


def verdict(history: History, *events: str) -> bool | None:
    return AppliedExactlyOnce(*events)(history).valid


def test_an_acknowledged_event_that_stands_once_is_applied_once() -> None:
    history = History()
    for at_s in (0.0, 0.1, 5.0):
        delivered(history, at_s)
    read(history, 10.0, ROW)

    assert verdict(history, "evt_1") is True


def test_two_rows_of_one_event_are_a_breach() -> None:
    history = History()
    delivered(history, 0.0)
    read(history, 10.0, ROW, {**ROW, "invoice": None})

    assert verdict(history) is False


def test_two_rows_of_one_invoice_and_kind_are_a_breach_whatever_the_events() -> None:
    history = History()
    delivered(history, 0.0)
    delivered(history, 0.0, event="evt_2")
    read(history, 10.0, ROW, {**ROW, "event": "evt_2"})

    assert verdict(history) is False


def test_an_acknowledged_event_without_a_row_is_a_breach_with_both_as_witness() -> None:
    history = History()
    delivered(history, 0.0)
    read(history, 1.001)

    said = AppliedExactlyOnce("evt_1")(history)

    assert said.valid is False
    assert [operation.f for operation in said.witness] == ["deliver", "ledger"]


def test_a_read_at_the_moment_of_the_acknowledgement_may_miss_the_row() -> None:
    history = History()
    delivered(history, 0.0)
    read(history, 1.0)

    assert verdict(history) is None


def test_a_read_that_began_before_the_acknowledgement_may_miss_the_row() -> None:
    history = History()
    delivered(history, 0.0)
    read(history, 0.9)
    read(history, 3.0, ROW)

    assert verdict(history) is True


def test_a_second_event_of_the_same_invoice_and_kind_adds_no_row() -> None:
    history = History()
    delivered(history, 0.0)
    delivered(history, 2.0, event="evt_2")
    read(history, 10.0, ROW)

    assert verdict(history, "evt_1", "evt_2") is True


def test_an_event_of_unknown_fate_may_stand_or_not() -> None:
    history = History()
    delivered(history, 0.0, Outcome.INFO)
    read(history, 5.0)
    read(history, 7.0, ROW)

    assert verdict(history) is None


def test_an_event_that_was_refused_must_not_stand() -> None:
    history = History()
    delivered(history, 0.0, Outcome.FAIL)
    read(history, 5.0, ROW)

    assert verdict(history) is False


def test_an_event_that_nobody_delivered_yet_must_not_stand() -> None:
    history = History()
    read(history, 0.0, ROW)
    delivered(history, 5.0)
    read(history, 8.0, ROW)

    assert verdict(history) is False


def test_a_row_that_goes_away_is_a_breach() -> None:
    history = History()
    delivered(history, 0.0)
    read(history, 2.0, ROW)
    read(history, 4.0)

    assert verdict(history) is False


def test_a_row_in_the_ledger_of_somebody_else_is_a_breach() -> None:
    history = History()
    delivered(history, 0.0)
    read(history, 2.0, ROW)
    read(history, 4.0, ROW, user="other")

    assert verdict(history) is False


def test_the_ledger_of_somebody_else_need_not_hold_the_row() -> None:
    history = History()
    delivered(history, 0.0)
    read(history, 2.0, ROW)
    read(history, 4.0, user="other")

    assert verdict(history) is True


@pytest.mark.parametrize("events", [(), ("evt_1",)])
def test_nothing_observed_is_unknown(events: tuple[str, ...]) -> None:
    assert verdict(History(), *events) is None


def test_a_ledger_that_was_never_read_is_unknown() -> None:
    history = History()
    delivered(history, 0.0)

    assert verdict(history) is None


# Against an oracle: one event, every moment at which it can have been applied

STEPS = st.lists(
    st.tuples(
        st.integers(0, 8), st.sampled_from(["ok", "fail", "info", "read0", "read1", "read2"])
    ),
    max_size=6,
)


def explained(history: History) -> bool:
    """Whether one effect at some moment, or none at all, explains every delivery and read."""
    acknowledged = [o for o in history.of("deliver") if o.outcome is Outcome.OK]
    begun = [o.started_s for o in history.of("deliver") if o.outcome is not Outcome.FAIL]
    deadline_s = min((one.finished_s for one in acknowledged), default=float("inf"))
    reads = [(o, len(o.value["entries"])) for o in history.of("ledger")]
    moments = [quarter / 4 for quarter in range(48)]
    possible = [m for m in moments if begun and min(begun) <= m <= deadline_s]
    never = [float("inf")] if deadline_s == float("inf") else []
    return any(
        all(_fits(moment, read.started_s, read.finished_s, rows) for read, rows in reads)
        and _is_append_only(reads)
        for moment in possible + never
    )


def _fits(moment_s: float, from_s: float, to_s: float, rows: int) -> bool:
    return (rows == 1 and moment_s <= to_s) or (rows == 0 and moment_s >= from_s)


def _is_append_only(reads: list[tuple[Any, int]]) -> bool:
    return not any(
        first.finished_s < second.started_s and rows > later
        for first, rows in reads
        for second, later in reads
    )


def made(steps: list[tuple[int, str]]) -> History:
    history = History()
    for at_s, what in steps:
        if what.startswith("read"):
            read(history, float(at_s), *[ROW] * int(what[-1]))
        else:
            delivered(history, float(at_s), Outcome(what))
    return history


def have_overlaps(history: History) -> bool:
    reads = history.of("ledger")
    return any(
        one.started_s <= other.finished_s and other.started_s <= one.finished_s
        for one, other in itertools.combinations(reads, 2)
    )


@settings(deadline=None)
@given(steps=STEPS)
def test_what_one_effect_explains_is_never_accused_and_what_it_does_not_is(
    steps: list[tuple[int, str]],
) -> None:
    history = made(steps)

    accused = AppliedExactlyOnce("evt_1")(history).valid is False

    assert not (accused and explained(history))
    # Only reads that overlap one another can hide a breach from the checker.
    assert accused or explained(history) or have_overlaps(history)
