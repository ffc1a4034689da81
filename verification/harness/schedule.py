"""In which order claims run and which xdist worker gets them.

Claims of one configuration stay together, because a stack costs a start; within that the
order is random, from the printed seed; long ones start first, so that they do not stand
alone at the end. Pure: no pytest, no clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

# What a claim is taken to cost when nothing is known of it: the aim for one claim.
SECONDS_GUESSED: Final = 2.0
# From here on a claim is long: it starts first, and alone in its unit.
LONG_S: Final = 15.0
# So many units for each worker: enough to balance, few enough to seldom start a stack twice.
UNITS_PER_WORKER: Final = 4


@dataclass(frozen=True, slots=True)
class Job:
    """A claim to be scheduled: its key, its configuration's key, its expected seconds."""

    key: str
    configuration: Hashable
    seconds: float


def units(jobs: Sequence[Job], *, workers: int, seed: int) -> list[list[Job]]:
    """The jobs in units that one worker runs one after the other, in the order of their start.

    Long jobs stand alone and come first, longest first. The others are grouped by
    configuration, shuffled by the seed, and cut so that `workers` can share them.
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
    pieces = [piece for group in ordered for piece in _cut(group, share_s, workers)]
    return [*([job] for job in long), *pieces]


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
