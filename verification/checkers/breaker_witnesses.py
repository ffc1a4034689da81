"""The two witnesses of a breaker's path, and what can be said of a moment by them.

The provider's journal (attempts) and the workers' reports (states), sorted, with every
moment taken in the breaker's favour. Used by breaker_path; judges nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from verification.contract import breakers
from verification.contract.bounds import bounds
from verification.history import History, Operation, Outcome

ATTEMPT: Final = "attempt"
REPORT: Final = "report"
FAILURE: Final = "failure"
SUCCESS: Final = "success"
NEUTRAL: Final = "neutral"
UNKNOWN: Final = "unknown"
CLOSED: Final = "closed"
OPEN: Final = "open"
# From the end of an answer on the wire until the service has counted it, or from a permit until
# the attempt arrives: microseconds, but on a busy machine a process may wait for its turn.
NOTICED_WITHIN_S: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerNumbers:
    """The numbers that the breaker runs with; durations in seconds."""

    workers: int = 1
    min_failures: int = breakers.MIN_FAILURES
    window_s: float = breakers.WINDOW_S
    open_s: float = breakers.OPEN_S
    probes: int = breakers.PROBES
    successes: int = breakers.SUCCESSES
    control_s: float = 0.0
    """The worst control ping of the run."""

    @property
    def failures_max(self) -> int:
        """With so many in the window one worker has certainly opened."""
        return breakers.counted_failures_max(self.workers, self.min_failures)

    @property
    def news_s(self) -> float:
        """How long the news of a change may take, as this machine can tell."""
        return bounds().breaker_open_within_s + self.slack_s

    @property
    def slack_s(self) -> float:
        """How far a moment on the wire may lie from the service's own."""
        return NOTICED_WITHIN_S + self.control_s

    @property
    def opening_news_s(self) -> float:
        """How long after the last counted failure attempts may start: a lone worker knows."""
        return self.slack_s if self.workers == 1 else self.news_s

    @property
    def open_least_s(self) -> float:
        """How long it stays open at least."""
        return self.open_s * (1 - breakers.OPEN_JITTER)


class Witnesses:
    """Attempts and reports of one breaker, sorted, with what can be said of them."""

    def __init__(self, history: History, numbers: BreakerNumbers) -> None:
        self.numbers = numbers
        self.attempts = history.of(ATTEMPT)
        self.reports = [one for one in history.of(REPORT) if one.outcome is Outcome.OK]
        # Asked for once for each attempt, so looked up once.
        self._failures = self._attempts_of(FAILURE, UNKNOWN)
        self._successes = self._attempts_of(SUCCESS, UNKNOWN)

    def _attempts_of(self, *results: str) -> list[Operation]:
        return [one for one in self.attempts if one.value.get("result") in results]

    def possible_failures(self) -> list[Operation]:
        """Attempts that may have counted as failures."""
        return self._failures

    def possible_successes(self) -> list[Operation]:
        """Attempts that may have counted as successes."""
        return self._successes

    def opened_earliest_s(self, report: Operation) -> float:
        """The earliest moment at which the state of this report of open can have begun.

        Two reports can be told apart in time only when more lies between them than news takes,
        for a worker says what was true before the news reached it. And whatever opened, opened
        after enough failures had begun.
        """
        news_s = self.numbers.news_s
        before = [
            one.started_s - news_s
            for one in self.reports
            if one.value.get("state") != OPEN and one.finished_s < report.started_s - news_s
        ]
        failures, least = self.possible_failures(), self.numbers.min_failures
        before += [failures[least - 1].started_s] if len(failures) >= least else []
        return max(before, default=-math.inf)

    def fresh_open_report(self) -> Operation | None:
        """The first report of open that cannot be old news of a breaker that has closed since.

        None of the successes that might have closed it ended shortly before the report.
        """
        ends = [one.effect_ends_s for one in self.possible_successes()]
        for report in self.open_reports():
            from_s = report.started_s - self.numbers.news_s - self.numbers.slack_s
            if not any(from_s <= end_s <= report.finished_s for end_s in ends):
                return report
        return None

    def open_reports(self) -> list[Operation]:
        """Reports of open, by their end."""
        found = [one for one in self.reports if one.value.get("state") == OPEN]
        return sorted(found, key=lambda one: one.finished_s)
