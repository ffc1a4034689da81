"""The rolling window's checkers against a slow oracle: small windows, everything tried."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from verification.checkers.rate_window import AdmitsAtMost, KeepsTheWindow, RefusesOnlyWhenFull
from verification.history import History, Operation, Outcome
from verification.selftest.checkers.histories import admitted, lost, refused

MOMENTS = st.integers(0, 12)
SPANS = st.tuples(MOMENTS, st.integers(0, 3)).map(lambda span: (span[0], span[0] + span[1]))
REQUESTS = st.lists(st.tuples(SPANS, st.sampled_from(["ok", "fail", "info"])), max_size=9)


def made(requests: list[tuple[tuple[int, int], str]]) -> History:
    history = History()
    for (from_s, to_s), outcome in requests:
        record = {"ok": admitted, "fail": refused, "info": lost}[outcome]
        record(history, float(from_s), float(to_s))
    return history


def too_many_by_oracle(history: History, limit: int, window_s: float) -> bool:
    """Whether some limit + 1 admitted requests lie in one window at whatever moments they count.

    The moments furthest apart are the earliest of one and the latest of another.
    """
    own = [one for one in history if one.outcome is Outcome.OK]
    return any(
        max(one.finished_s for one in group) - min(one.started_s for one in group) < window_s
        for group in itertools.combinations(own, limit + 1)
    )


def wrongly_by_oracle(history: History, limit: int, span_s: float) -> bool:
    """Whether some refused request has no moment before which the limit can have been used up."""
    possible = [one for one in history if one.outcome is not Outcome.FAIL]
    refusals = [one for one in history if one.outcome is Outcome.FAIL]
    return any(not _can_be_full(one, possible, limit, span_s) for one in refusals)


def _can_be_full(
    refused_one: Operation, possible: list[Operation], limit: int, span_s: float
) -> bool:
    steps = int((refused_one.finished_s - refused_one.started_s) * 4)
    moments = [refused_one.started_s + step / 4 for step in range(steps + 1)]
    return any(
        sum(
            one.started_s <= moment_s and one.effect_ends_s >= moment_s - span_s for one in possible
        )
        >= limit
        for moment_s in moments
    )


@settings(deadline=None)
@given(requests=REQUESTS, limit=st.integers(1, 3), window_s=st.integers(1, 6))
def test_the_checkers_say_what_trying_everything_says(
    requests: list[tuple[tuple[int, int], str]], limit: int, window_s: int
) -> None:
    history = made(requests)
    above = AdmitsAtMost(limit, float(window_s))(history).valid is False
    wrong = RefusesOnlyWhenFull(limit, float(window_s))(history).valid is False

    assert above == too_many_by_oracle(history, limit, window_s)
    assert wrong == wrongly_by_oracle(history, limit, window_s + window_s / 60)


@settings(deadline=None)
@given(
    arrivals=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 30)), min_size=1, max_size=60),
    limit=st.integers(1, 4),
)
def test_a_right_limiter_is_never_accused(arrivals: list[tuple[int, int]], limit: int) -> None:
    """A limiter with buckets of W/60 that counts the oldest whole, decisions at hidden moments."""
    window, bucket = 60, 1
    history = History()
    counted: list[int] = []
    decisions = sorted((start + hidden, start) for start, hidden in arrivals)
    for decided, start in decisions:
        inside = [one for one in counted if decided - one // bucket * bucket < window + bucket]
        record = refused if len(inside) >= limit else admitted
        if record is admitted:
            counted.append(decided)
        record(history, float(start), float(decided + 2))

    assert KeepsTheWindow(limit, float(window))(history).valid is not False
