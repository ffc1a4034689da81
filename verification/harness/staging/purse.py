"""What a run has used, shared by all of its processes: a small file, and a lock beside it.

Each process takes requests in portions and gives back what it did not use, so that a load
generator does not lock a file for each request. A process that is killed has used its
portion. The file also says why the run has to end, which every process heeds. The lock is
the kernel's: it goes with whoever held it.
"""

from __future__ import annotations

import fcntl
import json
import threading
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from verification.harness.staging.budget import Spent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from verification.harness.staging.budget import Budget


# Said to a process that outlives its run.
OVER: Final = "the run is over"


class Purse:
    """A run's expenses in one file. Safe to use from threads and processes."""

    def __init__(self, file: Path, budget: Budget) -> None:
        self._file = file
        self._budget = budget
        self._lock = threading.Lock()
        self._closed: dict[str, Any] | None = None

    @staticmethod
    def begin(file: Path) -> None:
        """An empty purse in a new file."""
        file.write_text("{}", "utf-8")

    def draw(self, wanted: Spent, *, is_last: bool = True) -> bool:
        """Count so much as used, if the run may go on and its budget holds it.

        Takes: `is_last`, whether a refusal ends the run; a portion can be asked for again.
        """
        with self._held() as kept:
            if "ended" in kept:
                return False
            together = _spent(kept) + wanted
            reason = self._budget.exceeded_by(together)
            if reason and is_last:
                kept["ended"] = f"{reason} of the target file is spent"
            if not reason:
                kept["spent"] = asdict(together)
            return not reason

    def correct(self, difference: Spent) -> None:
        """Add what was used beyond what was drawn, or (negative) give back what was not."""
        with self._held() as kept:
            kept["spent"] = asdict(_spent(kept) + difference)

    def end(self, reason: str) -> None:
        """Say why the run has to end; the first reason stands."""
        with self._held() as kept:
            kept.setdefault("ended", reason)

    @property
    def ended(self) -> str:
        """Why the run has to end; empty while it may go on."""
        return str(self._read().get("ended", ""))

    @property
    def spent(self) -> Spent:
        """What all processes have used or drawn so far."""
        return _spent(self._read())

    def close(self) -> None:
        """Remember what the file says, which may go now."""
        self._closed = self._read()

    @contextmanager
    def _held(self) -> Iterator[dict[str, Any]]:
        """What is kept, to be changed; of a run that is over nothing changes any more."""
        with self._lock:
            if self._closed is not None or not self._file.exists():
                yield {"ended": OVER}
                return
            with self._file.open("r+", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                kept = json.load(file)
                before = json.dumps(kept)
                yield kept
                after = json.dumps(kept)
                if after != before:
                    file.seek(0)
                    file.write(after)
                    file.truncate()

    def _read(self) -> dict[str, Any]:
        if self._closed is not None:
            return self._closed
        with self._lock:
            try:
                with self._file.open("r", encoding="utf-8") as file:
                    fcntl.flock(file, fcntl.LOCK_SH)
                    kept: dict[str, Any] = json.load(file)
                    return kept
            except FileNotFoundError:
                return {"ended": OVER}


def _spent(kept: dict[str, Any]) -> Spent:
    return Spent(**kept.get("spent", {}))
