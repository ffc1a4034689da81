"""What a run cost the machine: processor time of the service and of Redis, and their memory.

Read from the system before and after, so it is true whatever else runs beside; where the system
does not tell (no /proc), nothing is said.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
# Fields 14 and 15 of /proc/PID/stat, counted after the name: user and system time in ticks.
UTIME, STIME = 11, 12
SESSION: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Processor seconds so far, and resident bytes now, of a group of processes."""

    cpu_s: float
    resident_bytes: int
    processes: int


def of_session(leader: int) -> Reading | None:
    """All processes of a session: a service with its workers. None where nobody can say."""
    return _sum(pid for pid in _pids() if (_stat(pid) or [""] * 4)[SESSION] == str(leader))


def of_process(pid: int) -> Reading | None:
    """One process."""
    return _sum([pid])


def _pids() -> list[int]:
    if not PROC.is_dir():
        return []
    return [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]


def _sum(pids: Iterable[int]) -> Reading | None:
    stats = {pid: stat for pid in pids if (stat := _stat(pid)) is not None}
    if not stats:
        return None
    ticks = sum(int(stat[UTIME]) + int(stat[STIME]) for stat in stats.values())
    return Reading(
        cpu_s=ticks / os.sysconf("SC_CLK_TCK"),
        resident_bytes=sum(_resident_bytes(pid) for pid in stats),
        processes=len(stats),
    )


def _stat(pid: int) -> list[str] | None:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _resident_bytes(pid: int) -> int:
    """The proportional share, so that pages of forked workers count once."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def between(
    before: Reading | None, after: Reading | None, requests: int
) -> dict[str, float] | None:
    """What a run cost for each request, and what is resident at its end."""
    if before is None or after is None or not requests:
        return None
    return {
        "cpu_ms_per_request": round(1000 * (after.cpu_s - before.cpu_s) / requests, 3),
        "resident_mb": round(after.resident_bytes / 1e6, 1),
        "processes": after.processes,
    }
