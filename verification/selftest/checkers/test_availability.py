"""Endings while something is broken, on both sides of each bound."""

from __future__ import annotations

from typing import Any

import pytest

from verification.checkers.availability import AnswersAsPromised, ending
from verification.history import History, Outcome
from verification.selftest.checkers.broken_histories import (
    ASKED_S,
    HEALED_S,
    broken,
    chat,
    refused,
)

DOWN = "no_provider_available"
CHECKER = AnswersAsPromised(broken=frozenset({DOWN}), settle_s=2.0, wants=DOWN)


def trial() -> History:
    """A fault in which one request met it as promised."""
    history = History()
    broken(history)
    refused(history, 15.0, DOWN)
    return history


def test_what_is_promised_for_a_fault_may_come_while_it_lasts_and_settles() -> None:
    history = trial()
    for at_s in (ASKED_S - 0.005, HEALED_S, HEALED_S + 2.0):
        refused(history, at_s, DOWN)

    assert CHECKER(history).valid is True


@pytest.mark.parametrize("at_s", [ASKED_S - 0.02, HEALED_S + 2.001])
def test_it_may_not_come_before_the_fault_nor_after_it_has_settled(at_s: float) -> None:
    history = trial()
    refused(history, at_s, DOWN)

    verdict = CHECKER(history)

    assert (verdict.valid, verdict.counts["wrong"]) == (False, 1)
    assert "when nothing was broken" in str(verdict.first)


def test_another_ending_than_the_promised_one_is_wrong_while_broken_too() -> None:
    history = trial()
    chat(history, 15.0, outcome=Outcome.INFO, status=500, code="internal_error")

    assert CHECKER(history).valid is False


@pytest.mark.parametrize(("wait_s", "valid"), [(1, True), (0, False), (None, False)])
def test_whoever_is_refused_for_now_is_told_when_to_come_back(
    wait_s: int | None, valid: object
) -> None:
    history = trial()
    refused(history, 16.0, DOWN, wait_s)

    assert CHECKER(history).valid is valid


def test_without_a_request_while_the_fault_acts_nobody_can_say() -> None:
    history = History()
    broken(history)
    chat(history, 10.5)
    chat(history, 19.5)

    assert AnswersAsPromised()(history).valid is None


def test_a_fault_that_nobody_met_as_wanted_says_nothing() -> None:
    history = History()
    broken(history)
    chat(history, 15.0)

    assert (CHECKER(history).valid, AnswersAsPromised()(history).valid) == (None, True)


def test_a_fault_that_did_not_bite_excuses_nothing() -> None:
    history = History()
    broken(history, Outcome.FAIL)
    refused(history, 15.0, DOWN)

    assert CHECKER(history).valid is False


@pytest.mark.parametrize(
    ("outcome", "value", "word"),
    [
        (Outcome.OK, {}, "whole"),
        (Outcome.INFO, {"error": "left"}, "left"),
        (Outcome.INFO, {"status": 503, "code": DOWN}, DOWN),
        (Outcome.INFO, {"status": 0, "error": "reset"}, "reset"),
        (Outcome.INFO, {"status": 502}, "status 502"),
    ],
)
def test_an_ending_is_one_word(outcome: Outcome, value: dict[str, Any], word: str) -> None:
    history = History()
    chat(history, 1.0, outcome=outcome, **value)

    assert ending(history[0]) == word
