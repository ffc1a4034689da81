"""A request seen through a target: held, late, or nobody can say.

A request is timed from the moment at which it was due. It is late for certain only if it took too
long from the moment at which it was really sent, too, on a machine that was not full of others'
work. The rest is unsure: it counts against a pass and never towards a fail. Failed and
dropped requests are late whatever the clock says, so failing fast improves nothing; only a
failure that took long on a machine full of others' work is unsure, too. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from load.samples import End, Outcome, Recording, Sample
from load.schedule import Arrival
from verification.contract.load import ADDED, FIRST_TOKEN


class Fate(StrEnum):
    """What a request says about a target."""

    HELD = "held"
    LATE = "late"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Mark:
    """One request against one target: when it was due, its fate, and how long it took.

    `seconds` is infinite when it never came to a good end, and NaN when nobody can say.
    `is_answered_error` marks the failures that the service itself said or refused: no clock and
    no lag can have made them.
    """

    at_s: float
    fate: Fate
    seconds: float
    is_answered_error: bool = False


@dataclass(frozen=True, slots=True)
class Lens:
    """What is measured: from due to answered, to the first token, or the service's own time."""

    measure: str
    within_s: float
    provider_s: Mapping[int, float] | None = None
    """Request -> what its provider took; needed for the service's own time only."""
    crowd: Sequence[tuple[float, float]] = ()
    """When the machine that service and generator share was full of others' work."""

    def is_crowded(self, from_s: float, until_s: float) -> bool:
        """Whether a moment of the span was crowded."""
        return any(begins < until_s and from_s < ends for begins, ends in self.crowd)


REFUSED = "refused"
"""The error of a connection that nobody takes."""
# The shortest deadline inside the service (DESIGN 3.2: Redis). An error that came sooner cannot
# come from a program that waited for a processor.
QUICK_S = 0.05


def is_plainly_theirs(sample: Sample) -> bool:
    """The service said no at once, or was not there: no lag and no crowd can have made that."""
    if sample.outcome is not Outcome.FAILED:
        return False
    if sample.error == REFUSED:
        return True
    has_said = sample.status is not None and sample.done_s is not None
    return has_said and (sample.done_s or 0.0) - (sample.sent_s or 0.0) < QUICK_S


def mark(sample: Sample, lens: Lens, ended_s: float = math.inf) -> Mark:
    """A sample against a target; `ended_s` is when its generator stopped looking."""
    if sample.outcome is Outcome.OK:
        return _timed(sample, lens)
    if sample.outcome is Outcome.UNFINISHED:
        waited_s = ended_s - (sample.sent_s if sample.sent_s is not None else ended_s)
        fate = Fate.LATE if waited_s > lens.within_s else Fate.UNSURE
        return Mark(sample.intended_s, fate, math.inf)
    is_theirs = is_plainly_theirs(sample)
    in_a_crowd = sample.sent_s is not None and lens.is_crowded(
        sample.sent_s, sample.done_s if sample.done_s is not None else ended_s
    )
    fate = Fate.UNSURE if in_a_crowd and not is_theirs else Fate.LATE
    return Mark(sample.intended_s, fate, math.inf, is_theirs)


def _timed(sample: Sample, lens: Lens) -> Mark:
    done_s = sample.first_s if lens.measure == FIRST_TOKEN else sample.done_s
    if done_s is None or sample.sent_s is None:
        return Mark(sample.intended_s, Fate.UNSURE, math.nan)
    from_due_s, from_sent_s = done_s - sample.intended_s, done_s - sample.sent_s
    if lens.measure == ADDED:
        took_s = (lens.provider_s or {}).get(sample.index)
        if took_s is None:
            return Mark(sample.intended_s, Fate.UNSURE, math.nan)
        # The service's own time begins when it has the request: lag is none of it.
        from_due_s = from_sent_s = from_sent_s - took_s
    if from_due_s <= lens.within_s:
        return Mark(sample.intended_s, Fate.HELD, from_due_s)
    is_theirs = from_sent_s > lens.within_s and not lens.is_crowded(sample.sent_s, done_s)
    return Mark(sample.intended_s, Fate.LATE if is_theirs else Fate.UNSURE, from_due_s)


def wanted(due: Iterable[Arrival], recording: Recording) -> list[Arrival]:
    """The due requests without those that a generator left out because it had been stopped."""
    ends = _ends(recording)
    return [one for one in due if not _is_left_out(one, recording, _end_of(one, ends))]


def marks(
    due: Iterable[Arrival], recording: Recording, lens: Lens, kinds: Sequence[str]
) -> Iterator[Mark]:
    """Every due request of these kinds against a target.

    A request without a sample was in the hands of a generator that died: nobody can say.
    """
    ends = _ends(recording)
    for arrival in due:
        if arrival.kind not in kinds:
            continue
        sample, end = recording.samples.get(arrival.index), _end_of(arrival, ends)
        if sample is None:
            yield Mark(arrival.at_s, Fate.UNSURE, math.nan)
        else:
            yield mark(sample, lens, end.at_s if end else math.inf)


def _ends(recording: Recording) -> dict[int, End | None]:
    """By the number of its share: how each generator ended; None when it never said."""
    return {
        one.begin.number: one.end for one in recording.generators.values() if one.begin is not None
    }


def _end_of(arrival: Arrival, ends: Mapping[int, End | None]) -> End | None:
    return ends.get(arrival.index % len(ends)) if ends else None


def _is_left_out(arrival: Arrival, recording: Recording, end: End | None) -> bool:
    is_over = end is not None and end.stopped is not None and arrival.at_s >= end.stopped_s
    return is_over and arrival.index not in recording.samples
