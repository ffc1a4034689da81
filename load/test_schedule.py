"""The schedule: open, seeded, shared out without loss."""

from __future__ import annotations

from itertools import pairwise

import pytest

from load.schedule import Arrival, Stage, Traffic, arrivals, share

STEADY = Traffic({"chat": 20.0, "health": 5.0}, [Stage(100.0)], seed=7)


def test_the_same_seed_gives_the_same_schedule() -> None:
    again = Traffic(dict(STEADY.rates), [Stage(100.0)], seed=7)

    assert list(arrivals(STEADY)) == list(arrivals(again))


def test_another_seed_gives_another_schedule() -> None:
    other = Traffic(STEADY.rates, STEADY.stages, seed=8)

    assert [one.at_s for one in arrivals(STEADY)] != [one.at_s for one in arrivals(other)]


def test_arrivals_come_in_order_and_are_numbered_without_a_gap() -> None:
    every = list(arrivals(STEADY))

    assert all(a.at_s <= b.at_s for a, b in pairwise(every))
    assert [one.index for one in every] == list(range(len(every)))


@pytest.mark.parametrize(("kind", "expected"), [("chat", 2000), ("health", 500)])
def test_as_many_arrive_as_the_rate_says(kind: str, expected: int) -> None:
    found = sum(one.kind == kind for one in arrivals(STEADY))

    # Four standard deviations of a Poisson count: a schedule with a wrong rate is outside.
    assert found == pytest.approx(expected, abs=4 * expected**0.5)


def test_gaps_are_those_of_independent_callers() -> None:
    chats = [one.at_s for one in arrivals(STEADY) if one.kind == "chat"]
    gaps = [b - a for a, b in pairwise(chats)]
    mean = sum(gaps) / len(gaps)

    # Exponential: as many beyond the mean as 1/e, none of the evenness of a fixed pace.
    assert sum(gap > mean for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.04)


def test_every_arrival_belongs_to_exactly_one_generator() -> None:
    shares: list[Arrival] = []
    for number in range(3):
        shares += share(arrivals(STEADY), number, 3)

    assert sorted(shares, key=lambda one: one.index) == list(arrivals(STEADY))


def test_a_stage_multiplies_the_rates_while_it_lasts() -> None:
    spike = Traffic({"chat": 20.0}, [Stage(50.0), Stage(20.0, 5.0), Stage(50.0)], seed=3)
    within = [one for one in arrivals(spike) if 50.0 <= one.at_s < 70.0]

    assert len(within) == pytest.approx(2000, abs=180)
    assert spike.expected(["chat"]) == pytest.approx(4000, abs=1e-9)
    assert spike.expected(["chat"], after_s=60.0) == pytest.approx(2000, abs=1e-9)


def test_a_stage_of_no_rate_sends_nothing() -> None:
    pause = Traffic({"chat": 20.0}, [Stage(10.0), Stage(10.0, 0.0), Stage(10.0)], seed=3)

    assert not [one for one in arrivals(pause) if 10.0 <= one.at_s < 20.0]
    assert [one for one in arrivals(pause) if one.at_s >= 20.0]
