"""The path of one breaker: what its provider received, against what the workers reported.

Claimed: it opens after 5 to 4N+1 counted failures over N workers; no attempt starts later
than 1 s after any report of open; half-open lets at most 3 probes through at once; 3
successes close it, and it closes for nothing less.

Decided from two witnesses: the provider's journal (attempts, with what became of each) and
the reports of health or metrics (state, between sending and answer). Every bound is taken in
the breaker's favour: a failure counts as possible from the moment the attempt arrived and as
certain only once it was over; a report of open says that it was open at its end at the
latest; how long it stays open is counted from the earliest moment at which it can have
opened. `control_s` is what the machine itself added to a control ping: nothing is judged more
finely.

Could be fooled by attempts that never reached the provider (refused connections): such
failures must be recorded by whoever made them. Claimed while Redis answers: without it each
worker has a path of its own.

Operations: f "attempt", value: `result` (failure, success, neutral or unknown), `first_byte_s`
(or None). f "report", value: `state` (closed, half_open, open). Source: DESIGN 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from verification.checkers.breaker_witnesses import (
    ATTEMPT,
    CLOSED,
    FAILURE,
    SUCCESS,
    UNKNOWN,
    BreakerNumbers,
    Witnesses,
)
from verification.checkers.streams import slowest_control_s
from verification.history import History, Operation
from verification.verdict import Verdict, judged, unknown

# A permit lasts the attempt's time-out and 1 s: an attempt shorter than this was surely in time.
SURELY_IN_TIME_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Breach:
    text: str
    witness: tuple[Operation, ...]


class _PathChecker:
    """A checker over the path of one breaker."""

    claim: str

    def __init__(self, numbers: BreakerNumbers | None = None) -> None:
        self.numbers = numbers or BreakerNumbers()

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when the history does not hold what it takes."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        path = Witnesses(history, self.numbers)
        counts = {"attempts": len(path.attempts), "reports": len(path.reports)}
        if breaches := list(self._breaches(path)):
            first, last = breaches[0], breaches[-1]
            return Verdict(False, self.claim, counts, first.text, last.text, first.witness)
        if missing := self._missing(path):
            return unknown(self.claim, missing, **counts)
        return Verdict(True, self.claim, counts)

    def _breaches(self, path: Witnesses) -> Iterator[_Breach]:
        raise NotImplementedError

    def _missing(self, path: Witnesses) -> str:
        """What the history lacks to show the claim; empty when it shows it."""
        raise NotImplementedError


class OpensAfterFailures(_PathChecker):
    """It opens after 5 to 4N+1 counted failures within the window, and for nothing less."""

    @property
    def claim(self) -> str:  # type: ignore[override]  # computed from the numbers
        """The claim in words."""
        least, most = self.numbers.min_failures, self.numbers.failures_max
        return f"the breaker opens after {least} to {most} counted failures"

    def _breaches(self, path: Witnesses) -> Iterator[_Breach]:
        yield from self._too_early(path)
        yield from self._too_late(path)

    def _too_early(self, path: Witnesses) -> Iterator[_Breach]:
        numbers = self.numbers
        failures = path.possible_failures()
        for report in path.reports:
            if report.value.get("state") == CLOSED:
                continue
            began = [one for one in failures if one.started_s <= report.finished_s]
            if _most_within(began, numbers.window_s, numbers.slack_s) < numbers.min_failures:
                text = (
                    f"reported {report.value.get('state')} after at most {len(began)} failures, "
                    f"expected {numbers.min_failures} within {numbers.window_s:g} s"
                )
                yield _Breach(text, (*began, report))
            return  # a later report may tell of an opening that came before it

    def _too_late(self, path: Witnesses) -> Iterator[_Breach]:
        for run in _sure_runs(path):
            counted_s = max(one.finished_s for one in run) + self.numbers.opening_news_s
            until_s = run[0].started_s + self.numbers.open_least_s
            for one in (*path.attempts, *path.reports):
                is_closed = one.f == ATTEMPT or one.value.get("state") == CLOSED
                by_s = one.started_s if one.f == ATTEMPT else one.finished_s
                if is_closed and counted_s < one.started_s and by_s < until_s:
                    what = "an attempt" if one.f == ATTEMPT else "a report of closed"
                    text = f"{what} after {len(run)} counted failures, when it must have been open"
                    yield _Breach(text, (*run, one))
                    return

    def _missing(self, path: Witnesses) -> str:
        has_opened = any(one.value.get("state") != CLOSED for one in path.reports)
        return "" if has_opened else "no report says that it opened"


def _most_within(operations: Sequence[Operation], span_s: float, slack_s: float) -> int:
    """The most of them that can have ended within one span, each somewhere in its interval."""
    best = 0
    for last in operations:
        end_s = last.finished_s
        near = [
            one
            for one in operations
            if one.started_s <= end_s and one.effect_ends_s >= end_s - span_s - slack_s
        ]
        best = max(best, len(near))
    return best


def _sure_runs(path: Witnesses) -> Iterator[tuple[Operation, ...]]:
    """4N+1 failures in a row, certain, within the window, with no possible success before them."""
    numbers = path.numbers
    size = numbers.failures_max
    sure = [one for one in path.attempts if one.value.get("result") == FAILURE]
    for index in range(len(sure) - size + 1):
        run = tuple(sure[index : index + size])
        over_s = max(one.finished_s for one in run)
        from_s = run[0].started_s
        others = [
            one
            for one in path.attempts
            if one.value.get("result") != FAILURE
            and one.started_s <= over_s
            and one.finished_s >= from_s - numbers.window_s
        ]
        is_fresh = not any(
            one.value.get("state") != CLOSED and one.started_s <= from_s for one in path.reports
        )
        if not others and is_fresh and over_s - from_s < numbers.window_s - numbers.slack_s:
            yield run
            return


class NoAttemptWhileOpen(_PathChecker):
    """No attempt starts later than 1 s after any worker reported open, until it may probe."""

    claim = "no attempt starts later than 1 s after any report of open"

    def _breaches(self, path: Witnesses) -> Iterator[_Breach]:
        for report in path.open_reports():
            from_s = report.finished_s + self.numbers.news_s
            until_s = path.opened_earliest_s(report) + self.numbers.open_least_s
            for one in path.attempts:
                if from_s < one.started_s < until_s:
                    late_s = one.started_s - report.finished_s
                    text = f"an attempt arrived {late_s:.3f} s after a report of open"
                    yield _Breach(text, (report, one))

    def _missing(self, path: Witnesses) -> str:
        for report in path.open_reports():
            from_s = report.finished_s + self.numbers.news_s
            until_s = path.opened_earliest_s(report) + self.numbers.open_least_s
            if from_s < until_s:
                return ""
        return "no report of open leaves a time in which no attempt may start"


class ProbesAreFew(_PathChecker):
    """While it is not closed, at most 3 attempts are in flight at once, over all workers."""

    @property
    def claim(self) -> str:  # type: ignore[override]  # computed from the numbers
        """The claim in words."""
        return f"at most {self.numbers.probes} probes are in flight at once"

    def _breaches(self, path: Witnesses) -> Iterator[_Breach]:
        probes = _probes(path)
        for one in probes:
            together = tuple(
                other
                for other in probes
                if other.started_s <= one.started_s < self._released_s(other)
            )
            if len(together) > self.numbers.probes:
                text = f"{len(together)} probes in flight at once"
                yield _Breach(text, together[: self.numbers.probes + 1])

    def _released_s(self, probe: Operation) -> float:
        """The earliest moment at which its permit can have come back.

        An answer is read after it was sent; a caller that hung up did so before it was seen.
        """
        was_read = probe.value.get("result") != UNKNOWN
        return probe.finished_s - (self.numbers.control_s if was_read else self.numbers.slack_s)

    def _missing(self, path: Witnesses) -> str:
        return "" if _probes(path) else "no attempt can be told to be a probe"


def _probes(path: Witnesses) -> list[Operation]:
    """The attempts between the news of an opening and the earliest possible closing."""
    opened = path.fresh_open_report()
    if opened is None:
        return []
    from_s = opened.finished_s + path.numbers.news_s
    good = sorted(
        _told_s(one) for one in path.possible_successes() if one.effect_ends_s > opened.started_s
    )
    need = path.numbers.successes
    closes_s = good[need - 1] if len(good) >= need else math.inf
    return [one for one in path.attempts if from_s < one.started_s < closes_s]


def _told_s(one: Operation) -> float:
    """The earliest moment at which the caller can have known the result."""
    first = one.value.get("first_byte_s")
    return float(first) if isinstance(first, int | float) else one.started_s


class ClosesAfterSuccesses(_PathChecker):
    """3 successes of probes close it; nothing less does."""

    @property
    def claim(self) -> str:  # type: ignore[override]  # computed from the numbers
        """The claim in words."""
        return f"{self.numbers.successes} successes close the breaker, and nothing less"

    def _breaches(self, path: Witnesses) -> Iterator[_Breach]:
        for opened, closed in _closings(path):
            # The report of open may be old news by as much as news takes.
            from_s = opened.started_s - self.numbers.news_s - self.numbers.slack_s
            good = [
                one
                for one in path.possible_successes()
                if one.effect_ends_s >= from_s and _told_s(one) <= closed.finished_s
            ]
            if len(good) < self.numbers.successes:
                text = f"closed after {len(good)} successes, expected {self.numbers.successes}"
                yield _Breach(text, (opened, *good, closed))
        yield from self._stuck(path)

    def _stuck(self, path: Witnesses) -> Iterator[_Breach]:
        """Still not closed though the probes succeeded, one after the other, without a failure."""
        opened = path.fresh_open_report()
        if opened is None:
            return
        from_s = opened.finished_s + self.numbers.news_s
        for run in self._sure_successes(path, from_s):
            known_s = max(one.finished_s for one in run) + self.numbers.news_s
            until_s = min(
                (
                    one.started_s
                    for one in path.possible_failures()
                    if one.started_s > from_s and one.effect_ends_s > run[0].started_s
                ),
                default=math.inf,
            )
            for report in path.reports:
                is_told = known_s < report.started_s and report.finished_s < until_s
                if is_told and report.value.get("state") != CLOSED:
                    text = (
                        f"reported {report.value.get('state')} after {len(run)} successful probes"
                    )
                    yield _Breach(text, (*run, report))
                    return

    def _sure_successes(self, path: Witnesses, from_s: float) -> Iterator[tuple[Operation, ...]]:
        """As many successes as close it, one after the other, with no possible failure near."""
        after = [one for one in path.attempts if one.started_s > from_s]
        slack_s = self.numbers.slack_s
        for index in range(len(after) - self.numbers.successes + 1):
            run = tuple(after[index : index + self.numbers.successes])
            is_sure = all(
                one.value.get("result") == SUCCESS
                and one.finished_s - one.started_s < SURELY_IN_TIME_S
                for one in run
            )
            ends_s = max(one.finished_s for one in run)
            is_alone = not any(
                one.started_s <= ends_s + slack_s
                and one.effect_ends_s >= run[0].started_s - slack_s
                for one in path.possible_failures()
            )
            if is_sure and is_alone:
                yield run

    def _missing(self, path: Witnesses) -> str:
        return "" if list(_closings(path)) else "no report says that it closed again"


def _closings(path: Witnesses) -> Iterator[tuple[Operation, Operation]]:
    """Each report of closed with the last one of open that it cannot be older than."""
    for closed in path.reports:
        if closed.value.get("state") != CLOSED:
            continue
        before = [
            one
            for one in path.open_reports()
            if one.finished_s + path.numbers.news_s <= closed.started_s
        ]
        if before:
            yield before[-1], closed


CHECKERS: Final[tuple[Callable[[BreakerNumbers], _PathChecker], ...]] = (
    OpensAfterFailures,
    NoAttemptWhileOpen,
    ProbesAreFew,
    ClosesAfterSuccesses,
)


@dataclass(frozen=True, slots=True)
class KeepsToTheBreakerPath:
    """The whole path: opens, holds, probes, closes."""

    numbers: BreakerNumbers

    def __call__(self, history: History) -> Verdict:
        """The worst of the four verdicts."""
        first, *others = (checker(self.numbers)(history) for checker in CHECKERS)
        for other in others:
            first = first & other
        return first


@dataclass(frozen=True, slots=True)
class KeepsToThePathOf:
    """The whole path of one breaker, judged no more finely than the history's controls allow."""

    name: str
    workers: int
    window_s: float
    open_s: float

    def __call__(self, history: History) -> Verdict:
        """The worst of the four verdicts."""
        numbers = BreakerNumbers(
            workers=self.workers,
            window_s=self.window_s,
            open_s=self.open_s,
            control_s=slowest_control_s(history),
        )
        return KeepsToTheBreakerPath(numbers)(history)
