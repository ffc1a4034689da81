"""What a fault adds to a request, on both sides of the bound, on quiet and busy machines."""

from __future__ import annotations

import pytest

from verification.checkers.latency import HeldUpAtMost, has_calm_round, pairs_while_broken
from verification.history import History
from verification.selftest.checkers.broken_histories import broken

CHECKER = HeldUpAtMost(0.05)


def pairs(history: History, from_s: float, *readings: tuple[float, float]) -> History:
    """Pairs of a reading and a control, one each 0.1 s."""
    for number, (reading_s, control_s) in enumerate(readings):
        history.add(
            process="pairs",
            f="pair",
            value={"reading_s": reading_s, "control_s": control_s},
            outcome="ok",
            started_s=from_s + number / 10,
            finished_s=from_s + number / 10 + 0.01,
        )
    return history


@pytest.fixture
def history() -> History:
    """A fault from 10 to 20 s."""
    made = History()
    broken(made)
    return made


@pytest.mark.parametrize(("reading_s", "valid"), [(0.055, True), (0.061, False)])
def test_a_calm_round_decides_by_its_median_above_the_bound_and_its_slowest_control(
    history: History, reading_s: float, valid: object
) -> None:
    pairs(history, 12.0, *[(reading_s, 0.01)] * 7)

    assert CHECKER(history).valid is valid


def test_three_disturbed_readings_of_seven_accuse_nobody(history: History) -> None:
    pairs(history, 12.0, *[(0.9, 0.01)] * 3, *[(0.04, 0.01)] * 4)

    assert CHECKER(history).valid is True


def test_a_busy_round_decides_nothing_and_the_next_calm_one_does(history: History) -> None:
    pairs(history, 12.0, *[(0.9, 0.026)] * 7)
    before = CHECKER(history).valid
    pairs(history, 14.0, *[(0.9, 0.025)] * 7)

    assert (before, CHECKER(history).valid) == (None, False)


@pytest.mark.parametrize("from_s", [10.2, 18.9])
def test_pairs_that_the_fault_may_not_have_met_are_left_out(
    history: History, from_s: float
) -> None:
    pairs(history, from_s, *[(0.9, 0.01)] * 7)

    assert CHECKER(history).valid is None


def test_six_pairs_are_no_round(history: History) -> None:
    pairs(history, 12.0, *[(0.9, 0.01)] * 6)

    assert CHECKER(history).valid is None
    assert has_calm_round(pairs_while_broken(history), 0.05) is False
