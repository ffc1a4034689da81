"""A hold-up is judged by the median of seven beside quick controls, and never on a busy machine."""

from __future__ import annotations

from itertools import chain, repeat

import pytest

from verification.harness.timing import holds_up_at_most

BOUND_S = 0.05


def judged(readings: list[float], controls: list[float]) -> bool | None:
    """The verdict on readings and controls, the last of which goes on."""
    reading = chain(readings, repeat(readings[-1]))
    control = chain(controls, repeat(controls[-1]))
    return holds_up_at_most(
        BOUND_S, lambda: next(reading), lambda: next(control), claim="held up", within_s=0.05
    ).valid


@pytest.mark.parametrize(
    ("readings", "valid"),
    [
        ([0.01], True),
        ([0.9, 0.9, 0.9, 0.01], True),
        ([0.9, 0.9, 0.9, 0.9, 0.01], False),
        ([0.051], True),
        ([0.056], False),
    ],
)
def test_the_median_of_seven_decides_with_the_slowest_control_to_spare(
    readings: list[float], *, valid: bool
) -> None:
    assert judged(readings, [0.005]) is valid


def test_readings_beside_a_slow_control_are_not_judged() -> None:
    assert judged([0.9] * 10 + [0.01], [0.9] * 10 + [0.001]) is True


def test_a_machine_that_is_busy_all_the_time_says_nothing() -> None:
    assert judged([0.9], [0.026]) is None
