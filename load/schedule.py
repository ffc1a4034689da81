"""When each request is due: an open-loop schedule, the same for the same seed.

Arrivals of each kind are a Poisson process of their own, since that is how independent callers
come; the service's slowness never delays the next one, so nothing is omitted. Pure, standard
library only; generator and gate compute the same list, so an arrival that left no sample is seen.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the run: so long, at so many times the profile's rates."""

    for_s: float
    times: float = 1.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Rates (arrivals per second of each kind), their stages, and the seed of it all."""

    rates: Mapping[str, float]
    stages: Sequence[Stage]
    seed: int

    @property
    def duration_s(self) -> float:
        """From the first moment to the last one at which a request may be due."""
        return sum(stage.for_s for stage in self.stages)

    def expected(self, kinds: Sequence[str], *, after_s: float = 0.0) -> float:
        """How many requests of these kinds are due after `after_s`, on average."""
        rate = sum(self.rates.get(kind, 0.0) for kind in kinds)
        weight, begins_s = 0.0, 0.0
        for stage in self.stages:
            ends_s = begins_s + stage.for_s
            weight += stage.times * max(0.0, ends_s - max(begins_s, after_s))
            begins_s = ends_s
        return rate * weight

    @property
    def peak(self) -> float:
        """The highest of the stages' factors."""
        return max((stage.times for stage in self.stages), default=0.0)


@dataclass(frozen=True, slots=True, order=True)
class Arrival:
    """One request: when it is due (seconds after the start), what it is, and who sends it.

    `draw` is a number below 1 that chooses the user, so that the schedule knows no users.
    """

    at_s: float
    kind: str
    draw: float
    index: int = -1


def arrivals(traffic: Traffic) -> Iterator[Arrival]:
    """Every arrival in the order of its time, numbered from 0."""
    processes = [
        _process(kind, rate, traffic) for kind, rate in sorted(traffic.rates.items()) if rate > 0
    ]
    for index, one in enumerate(heapq.merge(*processes)):
        yield Arrival(one.at_s, one.kind, one.draw, index)


def share(every: Iterator[Arrival], number: int, of: int) -> Iterator[Arrival]:
    """The arrivals that generator `number` of `of` sends: each belongs to exactly one."""
    return (arrival for arrival in every if arrival.index % of == number)


def _process(kind: str, rate: float, traffic: Traffic) -> Iterator[Arrival]:
    """One kind's arrivals: unit exponential steps, stretched by the rate of each stage."""
    dice = random.Random(f"{traffic.seed}/{kind}")  # noqa: S311  a schedule is no secret
    begins_s, debt = 0.0, dice.expovariate(1.0)
    for stage in traffic.stages:
        pace, ends_s, at_s = rate * stage.times, begins_s + stage.for_s, begins_s
        while pace > 0 and at_s + debt / pace < ends_s:
            at_s += debt / pace
            yield Arrival(at_s, kind, dice.random())
            debt = dice.expovariate(1.0)
        debt -= pace * (ends_s - at_s)
        begins_s = ends_s
