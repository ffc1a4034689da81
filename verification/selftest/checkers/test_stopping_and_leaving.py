"""What a stop may lose, and what callers that left may leave behind."""

from __future__ import annotations

from typing import Any

import pytest

from verification.checkers.leaving import CallsEndWithTheirCallers, PlacesComeBack
from verification.checkers.stopping import EndsInOrder, LosesNothingSeen
from verification.history import History, Outcome
from verification.selftest.checkers.broken_histories import call, chat, control


def stopped(outcome: Outcome, **value: Any) -> History:
    """Two chats that a provider saw, one of them whole."""
    history = History()
    for message in ("a", "b"):
        call(history, message, 1.0, 2.0)
    chat(history, 1.0, message="a")
    chat(history, 1.0, outcome=outcome, message="b", **value)
    return history


@pytest.mark.parametrize(
    ("outcome", "value", "valid"),
    [
        (Outcome.OK, {}, True),
        (Outcome.INFO, {"error": "left"}, True),
        (Outcome.INFO, {"status": 0, "error": "closed"}, False),
        (Outcome.INFO, {"status": 503, "code": "draining"}, False),
    ],
)
def test_whatever_a_provider_saw_is_answered_unless_its_caller_left(
    outcome: Outcome, value: dict[str, Any], valid: object
) -> None:
    assert LosesNothingSeen(at_least=2)(stopped(outcome, **value)).valid is valid


def test_what_no_provider_saw_may_be_turned_away() -> None:
    history = stopped(Outcome.OK)
    chat(history, 1.0, outcome=Outcome.FAIL, message="c", status=0, error="refused")

    assert LosesNothingSeen(at_least=2)(history).valid is True
    assert LosesNothingSeen(at_least=3)(history).valid is None


@pytest.mark.parametrize(("codes", "valid"), [([0, 0], True), ([0, 1], False), ([], None)])
def test_each_end_is_one_in_order(codes: list[int], valid: object) -> None:
    history = History()
    for code in codes:
        history.add(
            process="service",
            f="exit",
            value={"code": code},
            outcome="ok",
            started_s=0.0,
            finished_s=1.0,
        )

    assert EndsInOrder()(history).valid is valid


@pytest.mark.parametrize(("until_s", "valid"), [(6.2, True), (6.4, False)])
def test_a_call_ends_within_the_bound_of_its_callers_leaving_and_the_slowest_control(
    until_s: float, valid: object
) -> None:
    history = History()
    control(history, 0.0, 0.25)
    chat(history, 1.0, 4.0, Outcome.INFO, message="a", error="left")
    call(history, "a", 1.5, until_s)

    assert CallsEndWithTheirCallers(1.0, at_least=1)(history).valid is valid


def test_a_call_that_goes_on_is_late_and_one_that_was_over_says_nothing() -> None:
    history = History()
    chat(history, 1.0, 4.0, Outcome.INFO, message="a", error="left")
    call(history, "a", 1.5, 4.9)
    over = CallsEndWithTheirCallers(1.0, at_least=1)(history).valid
    call(history, "a", 1.5, 5.5, goes_on=True)

    assert (over, CallsEndWithTheirCallers(1.0)(history).valid) == (None, False)


@pytest.mark.parametrize(("held", "valid"), [([0, 0], True), ([0, 1], False), ([], None)])
def test_nobody_holds_a_place_when_nobody_asks(held: list[int], valid: object) -> None:
    history = History()
    for number in held:
        history.add(
            process="reader",
            f="places",
            value={"user": "u", "held": number},
            outcome="ok",
            started_s=0.0,
            finished_s=1.0,
        )

    assert PlacesComeBack()(history).valid is valid
