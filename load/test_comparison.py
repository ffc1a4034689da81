"""The arithmetic of the comparison: what was true, what wrk2 would make of it; and of cost."""

from __future__ import annotations

import pytest

from load import comparison, cost


def test_a_long_time_stands_for_those_that_were_not_sent() -> None:
    repaired = comparison.corrected([0.05, 0.35], 0.1)

    assert repaired == pytest.approx([0.05, 0.35, 0.25, 0.15], abs=1e-9)


def test_times_within_the_interval_stay_as_they_are() -> None:
    assert comparison.corrected([0.01, 0.1], 0.1) == [0.01, 0.1]


def test_whoever_is_due_in_a_stall_waits_until_it_ends() -> None:
    assert comparison.truth([1.0, 2.0, 3.5, 5.0], 2.0, 5.0) == [0.0, 3.0, 1.5, 0.0]


def test_a_run_costs_what_was_used_between_two_readings() -> None:
    before = cost.Reading(cpu_s=2.0, resident_bytes=50_000_000, processes=3)
    after = cost.Reading(cpu_s=3.0, resident_bytes=60_000_000, processes=3)

    found = cost.between(before, after, requests=500)

    assert found == {"cpu_ms_per_request": 2.0, "resident_mb": 60.0, "processes": 3}


@pytest.mark.parametrize("requests", [0, 500])
def test_where_nobody_can_say_no_cost_is_said(requests: int) -> None:
    reading = cost.Reading(cpu_s=2.0, resident_bytes=1, processes=1)

    assert cost.between(None, reading, requests) is None
    assert cost.between(reading, reading, 0) is None
