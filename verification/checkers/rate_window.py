"""A user's rolling window: never above the limit, never refused while there is room.

Claimed: at most L requests are admitted in any rolling W seconds, over all workers, and none
is refused while fewer than L fit into every W + W/60 that ends within it.

Decided by intervals, without search. Each request took effect at some moment between its
start and its end, nobody knows when. L + 1 admitted requests that all began after t and all
ended before t + W prove a breach: wherever their moments lie, they lie in one window. A
refused one was wrong if at no moment of its own the window before it could have held L
requests, those of unknown fate counted as admitted and those without an answer as open to
the right.

Could be fooled by requests of the same user outside the history (a wrong refusal is then
accused unjustly), and by a clock of Redis that runs slower or faster than ours.

Operations: f "chat"; value holds `user`, `status`, `code`, `retry_after_s`. Outcome ok:
admitted; fail with status 429 and a code of REFUSALS: refused by the window; any other fail:
it never counted; info: it may have counted. Faults: see faults_seen. Source: DESIGN 3.2.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from verification.checkers.faults_seen import (
    CLOCK_STEPPED,
    FaultSpan,
    extra_admitted,
    faults_of,
)
from verification.contract.bounds import bounds
from verification.history import History, Operation, Outcome
from verification.verdict import Verdict, judged, unknown

CHAT: Final = "chat"
TOO_MANY: Final = 429
REFUSALS: Final = frozenset({"rate_limited"})
# Retry-After counts whole seconds, rounded up.
ROUNDING_S: Final = 1


def is_refused(operation: Operation, codes: frozenset[str] = REFUSALS) -> bool:
    """Whether the window of requests refused it; other refusals say nothing about the window."""
    value = operation.value
    return (
        operation.outcome is Outcome.FAIL
        and value.get("status") == TOO_MANY
        and value.get("code", "rate_limited") in codes
    )


def possible_end_s(operation: Operation) -> float:
    """The latest moment at which it can have counted: never, for one without any answer."""
    was_answered = bool(operation.value.get("status"))
    return operation.finished_s if was_answered else operation.effect_ends_s


def by_user(operations: Sequence[Operation]) -> dict[str, list[Operation]]:
    """The operations of each user, in the given order."""
    found: dict[str, list[Operation]] = {}
    for operation in operations:
        found.setdefault(str(operation.value.get("user")), []).append(operation)
    return found


@dataclass(frozen=True, slots=True)
class _Breach:
    user: str
    from_s: float
    admitted: int
    allowed: int

    @property
    def above(self) -> int:
        return self.admitted - self.allowed


@dataclass(frozen=True, slots=True)
class AdmitsAtMost:
    """At most `limit` requests of each user are admitted in any rolling `window_s` seconds.

    Takes: `workers`, over which the limit is shared (it matters during an outage);
    `local_decisions`, how many decisions the service says it made without Redis: with any, and
    no fault in the history, nobody can say whether the limit was exact.
    """

    limit: int
    window_s: float
    workers: int = 1
    local_decisions: float = 0
    f: str = CHAT

    @property
    def claim(self) -> str:
        """The claim in words."""
        return f"at most {self.limit} requests of a user in any rolling {self.window_s:g} s"

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when no limit was ever reached."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        faults = faults_of(history)
        if self.local_decisions and not faults:
            return unknown(self.claim, f"{self.local_decisions:g} decisions were made locally")
        operations = history.of(self.f)
        admitted = [one for one in operations if one.outcome is Outcome.OK]
        refused = sum(is_refused(one) for one in operations)
        counts = {"admitted": len(admitted), "refused": refused}
        users = by_user(admitted)
        breaches = [one for user, own in users.items() for one in self._breaches(user, own, faults)]
        if breaches:
            counts["windows above"] = len(breaches)
            first = min(breaches, key=lambda breach: breach.from_s)
            worst = max(breaches, key=lambda breach: breach.above)
            told = [self._tell(one, users[one.user]) for one in (first, worst)]
            proof = self._inside(first, users[first.user])[: first.allowed + 1]
            return Verdict(False, self.claim, counts, told[0], told[1], proof)
        if not refused:
            return unknown(self.claim, "no request was refused, so no limit was reached", **counts)
        return Verdict(True, self.claim, counts)

    def _breaches(
        self, user: str, admitted: Sequence[Operation], faults: Sequence[FaultSpan]
    ) -> Iterator[_Breach]:
        """Windows that hold more than is allowed, each request wholly inside.

        A window begins where a request begins; left of a fault it may also end there, for such
        a one may hold the proof without touching the fault.
        """
        begins = {one.started_s for one in admitted}
        begins |= {one.began_s - self.window_s for one in faults}
        waiting = sorted(admitted, key=lambda one: one.started_s)
        ends: list[float] = []
        for from_s in sorted(begins, reverse=True):
            while waiting and waiting[-1].started_s >= from_s:
                bisect.insort(ends, waiting.pop().finished_s)
            inside = bisect.bisect_left(ends, from_s + self.window_s)
            if inside > self.limit:
                allowed = self.limit + self._extra(faults, from_s)
                if inside > allowed:
                    yield _Breach(user, from_s, inside, allowed)

    def _extra(self, faults: Sequence[FaultSpan], from_s: float) -> int:
        until_s = from_s + self.window_s
        touched = [one for one in faults if one.touches(from_s, until_s)]
        return extra_admitted(touched, limit=self.limit, workers=self.workers)

    def _inside(self, breach: _Breach, admitted: Sequence[Operation]) -> tuple[Operation, ...]:
        until_s = breach.from_s + self.window_s
        inside = [
            one for one in admitted if one.started_s >= breach.from_s and one.finished_s < until_s
        ]
        return tuple(sorted(inside, key=lambda one: one.finished_s))

    def _tell(self, breach: _Breach, admitted: Sequence[Operation]) -> str:
        inside = self._inside(breach, admitted)
        span_s = inside[-1].finished_s - min(one.started_s for one in inside)
        return (
            f"user {breach.user}: {breach.admitted} admitted from first start to last end within "
            f"{span_s:.3f} s, expected at most {breach.allowed} in {self.window_s:g} s"
        )


@dataclass(frozen=True, slots=True)
class RefusesOnlyWhenFull:
    """No request is refused while fewer than `limit` fit into every W + W/60 that ends in it.

    Takes: `local_decisions` as in AdmitsAtMost. A refusal whose last W + W/60 a fault touches
    is not judged, nor one within 2 W after a step of the clock.
    """

    limit: int
    window_s: float
    local_decisions: float = 0
    f: str = CHAT

    @property
    def claim(self) -> str:
        """The claim in words."""
        return (
            f"no request is refused while fewer than {self.limit} fit into every "
            f"{self.span_s:g} s that ends within it"
        )

    @property
    def span_s(self) -> float:
        """A window and its oldest bucket, which is counted whole."""
        return self.window_s + self.window_s / bounds().buckets

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when no limit was ever reached."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        faults = faults_of(history)
        if self.local_decisions and not faults:
            return unknown(self.claim, f"{self.local_decisions:g} decisions were made locally")
        users = by_user(history.of(self.f))
        refused = [one for own in users.values() for one in own if is_refused(one)]
        judgeable = [one for one in refused if self._was_healthy(one, faults)]
        counts = {"refused": len(refused), "not judged": len(refused) - len(judgeable)}
        rooms = {user: _Room(own) for user, own in users.items()}
        wrong = []
        for one in judgeable:
            most = rooms[str(one.value.get("user"))].most_before(one, self.span_s)
            if most < self.limit:
                wrong.append((most, one))
        if wrong:
            counts["wrongly refused"] = len(wrong)
            first, worst = wrong[0], min(wrong, key=lambda found: found[0])
            told = [self._tell(*found) for found in (first, worst)]
            return Verdict(False, self.claim, counts, told[0], told[1], (first[1],))
        was_full = any(room.admitted >= self.limit for room in rooms.values())
        if not judgeable and not was_full:
            return unknown(self.claim, "no limit was ever reached", **counts)
        return Verdict(True, self.claim, counts)

    def _was_healthy(self, one: Operation, faults: Sequence[FaultSpan]) -> bool:
        for fault in faults:
            after_s = self.span_s
            if fault.kind == CLOCK_STEPPED:
                windows = bounds().wrongly_refused_after_clock_step_windows
                after_s = max(after_s, windows * self.window_s)
            if fault.touches(one.started_s - after_s, one.finished_s):
                return False
        return True

    def _tell(self, most: int, one: Operation) -> str:
        return (
            f"refused {one}: at most {most} can have been admitted in the {self.span_s:g} s before "
            f"any moment of it, expected {self.limit}"
        )


class _Room:
    """How many requests of a user can have counted in a span before a moment."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        possible = [one for one in operations if one.outcome is not Outcome.FAIL]
        self.admitted = sum(one.outcome is Outcome.OK for one in possible)
        self._starts = sorted(one.started_s for one in possible)
        self._ends = sorted(possible_end_s(one) for one in possible)

    def most_before(self, refused: Operation, span_s: float) -> int:
        """The most that fit into any span that ends within the refused request.

        The number grows only where a request begins, so those moments decide.
        """
        left = bisect.bisect_right(self._starts, refused.started_s)
        right = bisect.bisect_right(self._starts, refused.finished_s)
        moments = [refused.started_s, *self._starts[left:right]]
        return max(self._at(moment_s, span_s) for moment_s in moments)

    def _at(self, moment_s: float, span_s: float) -> int:
        began = bisect.bisect_right(self._starts, moment_s)
        # One that ended exactly a span ago may still have counted: doubt is for the service.
        over = bisect.bisect_left(self._ends, moment_s - span_s)
        return began - over


@dataclass(frozen=True, slots=True)
class RetryAfterIsHonest:
    """A lone caller that waits what Retry-After says is admitted; it says no more than needed.

    Takes: `limit`, to judge also that no refusal by requests asks for more than a second above
    what was needed; `codes` of the refusals that are judged. Judged where the user's next
    request begins after the wait and no other of the user's requests can have counted in
    between. Whole seconds: one is allowed for rounding.
    """

    window_s: float
    limit: int | None = None
    codes: frozenset[str] = REFUSALS
    f: str = CHAT

    @property
    def claim(self) -> str:
        """The claim in words."""
        return "a lone caller that waits what Retry-After says, no more than needed, is admitted"

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when nobody waited."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        if faults_of(history):
            return unknown(self.claim, "the history holds faults, which may prolong a wait")
        waited = 0
        wrong: list[tuple[str, tuple[Operation, ...]]] = []
        users = by_user(history.of(self.f))
        refused = [one for own in users.values() for one in own if is_refused(one, self.codes)]
        for one in refused:
            own = users[str(one.value.get("user"))]
            wait_s, longest_s = one.value.get("retry_after_s"), self._longest_s(one, own)
            if not isinstance(wait_s, int | float) or not 0 < wait_s <= longest_s:
                wrong.append((f"expected 0 < Retry-After <= {longest_s} s, got {wait_s}", (one,)))
                continue
            after = _next(own, one)
            if after is not None and after.started_s >= one.finished_s + wait_s:
                waited += 1
                if is_refused(after, self.codes):
                    wrong.append((f"refused again after {wait_s:g} s", (one, after)))
        counts = {"refused": len(refused), "waited": waited}
        if wrong:
            return Verdict(False, self.claim, counts, wrong[0][0], wrong[-1][0], wrong[0][1])
        if not waited:
            return unknown(self.claim, "nobody waited as told", **counts)
        return Verdict(True, self.claim, counts)

    def _longest_s(self, one: Operation, own: Sequence[Operation]) -> float:
        """The longest wait that can be right: no room before enough have left, rounded up.

        Room is there at the latest when all but `limit` - 1 of what may have counted before the
        refusal have left, each at the latest possible moment.
        """
        span_s = self.window_s + self.window_s / bounds().buckets
        if self.limit is None or one.value.get("code") not in REFUSALS:
            return math.ceil(span_s)
        ends = sorted(
            possible_end_s(other)
            for other in own
            if other.outcome is not Outcome.FAIL and other.started_s < one.finished_s
        )
        leaving = ends[: max(0, len(ends) - self.limit + 1)]
        needed_s = leaving[-1] + span_s - one.started_s if leaving else span_s
        return min(math.ceil(span_s), math.ceil(min(max(needed_s, 0.0), span_s)) + ROUNDING_S)


def _next(own: Sequence[Operation], one: Operation) -> Operation | None:
    """The user's next request, if nothing of theirs overlaps it or the refused one."""
    later = [other for other in own if other is not one and possible_end_s(other) > one.started_s]
    if not later or later[0].started_s < one.finished_s:
        return None
    first, *others = later
    is_lone = all(other.started_s >= first.finished_s for other in others)
    return first if is_lone else None


@dataclass(frozen=True, slots=True)
class KeepsTheWindow:
    """Both bounds of a user's window: never above the limit, never refused while there is room."""

    limit: int
    window_s: float
    workers: int = 1
    local_decisions: float = 0
    f: str = CHAT

    def __call__(self, history: History) -> Verdict:
        """The worse of both verdicts."""
        above = AdmitsAtMost(self.limit, self.window_s, self.workers, self.local_decisions, self.f)
        wrongly = RefusesOnlyWhenFull(self.limit, self.window_s, self.local_decisions, self.f)
        return above(history) & wrongly(history)
