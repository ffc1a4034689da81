"""Whether the machine was free for the service under load, when both share one.

A ping that does nothing gets a processor at once where a worker with work to do has to queue, so
the control alone would blame the service for its neighbours. Looked at once a second: how much of
the machine was idle, and how much went to programs that are not ours. Linux only; elsewhere
nothing is said, and the control decides alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from verification.contract.load import InstrumentBounds

PROC: Final = Path("/proc")
EVERY_S: Final = 1.0
# Fields of /proc/PID/stat after the name.
PARENT, UTIME, STIME = 1, 11, 12
# Of the line "cpu" of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
IDLE: Final = (3, 4)
COUNTED: Final = 8


@dataclass(frozen=True, slots=True)
class Moment:
    """The machine's clocks at one moment: ticks in all, idle ones, and those of our processes."""

    wall_s: float
    total: int
    idle: int
    own: int


@dataclass(slots=True)
class CrowdWatch:
    """Looks at the machine beside a run. `roots` are our processes; their children are ours."""

    roots: Sequence[int]
    moments: list[Moment] = field(default_factory=list)

    def look(self) -> None:
        """Look, if the last look is a second ago."""
        if self.moments and time.time() - self.moments[-1].wall_s < EVERY_S:
            return
        if (moment := read_moment(self.roots)) is not None:
            self.moments.append(moment)


def spans(
    moments: Iterable[Moment], began_s: float, bounds: InstrumentBounds
) -> list[tuple[float, float]]:
    """When the machine was crowded, in seconds after `began_s`; neighbours joined."""
    found: list[tuple[float, float]] = []
    for before, after in pairwise(moments):
        if not _is_crowded(before, after, bounds):
            continue
        from_s, until_s = before.wall_s - began_s, after.wall_s - began_s
        if found and from_s - found[-1][1] < EVERY_S / 2:
            found[-1] = (found[-1][0], until_s)
        else:
            found.append((from_s, until_s))
    return found


def _is_crowded(before: Moment, after: Moment, bounds: InstrumentBounds) -> bool:
    total = after.total - before.total
    if total <= 0:
        return False
    idle = after.idle - before.idle
    foreign = total - idle - max(0, after.own - before.own)
    is_full = idle <= bounds.crowd_idle_share_max * total
    return is_full and foreign >= bounds.crowd_foreign_share_min * total


def read_moment(roots: Sequence[int]) -> Moment | None:
    """The machine now; None where it does not tell."""
    try:
        line = (PROC / "stat").read_text().partition("\n")[0].split()
    except OSError:
        return None
    ticks = [int(one) for one in line[1 : COUNTED + 1]]
    idle = sum(ticks[number] for number in IDLE)
    return Moment(time.time(), sum(ticks), idle, _own_ticks(roots))


def _own_ticks(roots: Sequence[int]) -> int:
    stats = {pid: stat for pid in _pids() if (stat := _stat(pid)) is not None}
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(int(stat[PARENT]), []).append(pid)
    ours: set[int] = set()
    waiting = [pid for pid in roots if pid in stats]
    while waiting:
        pid = waiting.pop()
        if pid not in ours:
            ours.add(pid)
            waiting += children.get(pid, [])
    return sum(int(stats[pid][UTIME]) + int(stats[pid][STIME]) for pid in ours)


def _pids() -> list[int]:
    return [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
