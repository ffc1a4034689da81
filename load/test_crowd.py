"""A machine that others fill is nobody's fault; one that the service fills is the service's."""

from __future__ import annotations

import os

import pytest

from load import crowd, gate, known_truths
from load.crowd import CrowdWatch, Moment
from load.gate import Run
from load.instrument import Sighting
from load.known_truths import StallingServer, recorded, traffic
from load.measures import Fate, Lens, mark
from load.schedule import arrivals
from verification.contract.load import load_targets

TARGETS = load_targets()
BEFORE = {"instance": "vfy-1"}


def looked(*seconds: tuple[int, int]) -> list[Moment]:
    """Moments a second apart on two cores (200 ticks), each with (idle, own) ticks since."""
    moments = [Moment(0.0, 0, 0, 0)]
    for number, (idle, own) in enumerate(seconds, 1):
        last = moments[-1]
        moments.append(Moment(float(number), 200 * number, last.idle + idle, last.own + own))
    return moments


@pytest.mark.parametrize(
    ("idle", "own", "is_crowded"),
    [(150, 20, False), (5, 190, False), (5, 60, True), (100, 20, False), (0, 165, False)],
    ids=["free", "ours fill it", "others fill it", "others, room left", "others, a little"],
)
def test_a_second_is_crowded_when_others_leave_no_room(
    idle: int, own: int, *, is_crowded: bool
) -> None:
    found = crowd.spans(looked((idle, own)), 0.0, TARGETS.instrument)

    assert bool(found) is is_crowded


def test_neighbouring_seconds_are_one_span_after_the_start_of_the_schedule() -> None:
    moments = looked((150, 20), (0, 20), (0, 20), (150, 20), (0, 20))

    found = crowd.spans(moments, 0.5, TARGETS.instrument)

    assert found == [(0.5, 2.5), (3.5, 4.5)]


def test_what_is_late_while_the_machine_is_full_is_unsure() -> None:
    wanted = traffic()
    late = next(
        one
        for one in recorded(wanted, StallingServer(30.0, 3.0)).samples.values()
        if one.intended_s >= 30.0
    )

    def fate(*spans: tuple[float, float]) -> Fate:
        return mark(late, Lens("answered", 1.0, crowd=spans)).fate

    assert fate((20.0, 29.0)) is Fate.LATE
    assert fate((20.0, 31.0)) is Fate.UNSURE


def test_a_crowd_makes_of_a_fail_an_unknown_and_never_a_pass() -> None:
    wanted = traffic()
    run = Run(
        traffic=wanted,
        warm_up_s=5.0,
        recording=recorded(wanted, StallingServer(30.0, 3.0)),
        sighting=Sighting(before=BEFORE, after=BEFORE),
        crowd=[(29.0, 34.0)],
    )

    found = gate.judge(run, TARGETS).judged

    assert {one.verdict.valid for one in found if not one.unverified} == {None}


@pytest.mark.parametrize(
    ("error", "status", "took_s", "fate"),
    [
        ("internal_error", 500, 0.004, Fate.LATE),
        ("refused", None, 1.0, Fate.LATE),
        ("database_unavailable", 503, 2.4, Fate.UNSURE),
        ("timeout", None, 35.0, Fate.UNSURE),
    ],
)
def test_only_a_failure_that_took_long_is_unsure_in_a_crowd(
    error: str, status: int | None, took_s: float, fate: Fate
) -> None:
    arrival = next(arrivals(traffic()))
    failure = known_truths.failed(arrival, error, status, took_s)

    crowded = mark(failure, Lens("answered", 1.0, crowd=[(0.0, 100.0)]))

    assert crowded.fate is fate
    assert mark(failure, Lens("answered", 1.0)).fate is Fate.LATE


def test_this_machine_can_be_looked_at() -> None:
    watch = CrowdWatch((os.getpid(),))

    watch.look()
    watch.look()

    (moment,) = watch.moments  # the second look came within the second
    assert moment.total > moment.own > 0
