"""What a person sees while the load runs; quiet when nobody looks (no terminal)."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from load.samples import SUFFIX
from verification.harness.waiting import now_s


@dataclass(slots=True)
class Progress:
    """A bar over the schedule's length, with counts of what has ended so far."""

    total_s: float
    raw: Path
    ended: int = 0
    not_well: int = 0
    _bar: Bar | None = None
    _began_s: float = field(default_factory=now_s)
    _read: dict[Path, int] = field(default_factory=dict)

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, transient=True)
            self._bar.add_task("load", total=self.total_s)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self) -> None:
        """Move on."""
        if self._bar is None:
            return
        for path in self.raw.glob(f"*{SUFFIX}"):
            self._count(path)
        self._bar.update(
            self._bar.task_ids[0],
            completed=min(self.total_s, now_s() - self._began_s),
            description=f"{self.ended} requests ended, {self.not_well} not well",
        )

    def _count(self, path: Path) -> None:
        """Count what a generator has written since the last look, whole lines only."""
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            whole, mark, _ = file.read().rpartition(b"\n")
        self._read[path] = self._read.get(path, 0) + len(whole) + len(mark)
        self.ended += whole.count(b'"type":"sample"')
        self.not_well += whole.count(b'"type":"sample"') - whole.count(b'"outcome":"ok"')
