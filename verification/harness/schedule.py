"""In which order claims run and which xdist worker gets them.

Claims of one configuration stay together, because a stack costs a start; within that the
order is random, from the printed seed; what takes long starts first, so that nothing long
stands alone at the end. Pure: no pytest, no clock.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

# What a claim is taken to cost when nothing is known of it: the aim for one claim.
SECONDS_GUESSED: Final = 2.0
# From here on a claim is long: it starts first, and alone in its unit.
LONG_S: Final = 15.0
# So many units for each worker: the end is as even as they are short, and a worker that goes on
# with its configuration starts no stack for the next.
UNITS_PER_WORKER: Final = 8
URGENT: Final = "urgent"
FITTING: Final = "cfg"
GROUP: Final = rf"({URGENT}|{FITTING})-([0-9a-f]+)-(\d+)"
"""How units are named: what they are, the configuration's id, their number."""


@dataclass(frozen=True, slots=True)
class Job:
    """A claim to be scheduled: its key, its configuration's key, its expected seconds."""

    key: str
    configuration: Hashable
    seconds: float


def units(jobs: Sequence[Job], *, workers: int, seed: int) -> list[list[Job]]:
    """The jobs in units that one worker runs one after the other, in the order of their start.

    Long jobs stand alone and come first, longest first. The others are grouped by
    configuration, the longest group first, those of one length shuffled by the seed, and cut
    so that `workers` can share them.
    """
    chance = random.Random(seed)  # noqa: S311  an order, not a secret
    long = sorted((job for job in jobs if job.seconds >= LONG_S), key=lambda job: -job.seconds)
    short = [job for job in jobs if job.seconds < LONG_S]
    groups: dict[Hashable, list[Job]] = {}
    for job in short:
        groups.setdefault(job.configuration, []).append(job)
    share_s = sum(job.seconds for job in short) / (max(workers, 1) * UNITS_PER_WORKER)
    ordered = list(groups.values())
    chance.shuffle(ordered)
    ordered.sort(key=lambda group: -sum(job.seconds for job in group))
    pieces = [piece for group in ordered for piece in _cut(group, share_s, workers)]
    return [*([job] for job in long), *pieces]


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as the name of its group tells it."""

    configuration: str
    number: int
    is_urgent: bool
    """Nothing goes before it: it is long, or its order is what was asked for."""

    @property
    def group(self) -> str:
        """The name of its group, by which a worker is given it."""
        return f"{URGENT if self.is_urgent else FITTING}-{self.configuration}-{self.number}"

    @classmethod
    def of(cls, group: str) -> Unit:
        """The unit of that group; a name that is none of ours has its own configuration."""
        found = re.fullmatch(GROUP, group)
        if found is None:
            return cls(group, 0, is_urgent=False)
        return cls(found[2], int(found[3]), is_urgent=found[1] == URGENT)


def next_unit(waiting: Sequence[Unit], *, last: str | None, others: Sequence[str]) -> Unit:
    """The unit for a worker that is free: of its stack's configuration if it can be.

    Otherwise of the configuration that would have most units left for each worker at it, so that
    nobody stands before a long one alone at the end.

    Takes: at least one unit in their order, the configuration that the worker had `last`, and
    the one that each of the `others` is at.
    """
    if waiting[0].is_urgent:
        return waiting[0]
    left, at = Counter(unit.configuration for unit in waiting), Counter(others)
    own = (unit for unit in waiting if unit.configuration == last)
    return next(own, None) or max(
        waiting, key=lambda unit: left[unit.configuration] / (1 + at[unit.configuration])
    )


def soonest(jobs: Sequence[Job], rank: Callable[[Job], int]) -> list[list[Job]]:
    """The jobs in the order in which a false claim shows soonest, for one worker.

    Those of a lower rank come first; within one the short before the long, configurations
    together, the cheapest of them first.
    """
    batches: dict[tuple[int, bool], dict[Hashable, list[Job]]] = {}
    for job in jobs:
        batch = batches.setdefault((rank(job), job.seconds >= LONG_S), {})
        batch.setdefault(job.configuration, []).append(job)
    return [
        sorted(group, key=lambda job: job.seconds)
        for _, batch in sorted(batches.items())
        for group in sorted(batch.values(), key=lambda group: sum(job.seconds for job in group))
    ]


def _cut(group: list[Job], share_s: float, workers: int) -> list[list[Job]]:
    if workers <= 1:
        return [group]
    pieces: list[list[Job]] = [[]]
    filled_s = 0.0
    for job in group:
        if pieces[-1] and filled_s + job.seconds > share_s:
            pieces.append([])
            filled_s = 0.0
        pieces[-1].append(job)
        filled_s += job.seconds
    return pieces
