"""What a running service keeps in `<data folder>/run`: the workers' metrics, while it runs.

Standard library only: the supervisor uses it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

METRICS: Final = "metrics-"
METRICS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The folders of one supervisor."""

    folder: Path
    metrics: Path

    @classmethod
    def make(cls, data_folder: Path) -> RunFiles:
        """Make the folders, and remove what supervisors left that are no more.

        Raises: OSError when the data folder cannot be written.
        """
        data_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = data_folder / "run"
        folder.mkdir(mode=0o700, exist_ok=True)
        for left in folder.glob(f"{METRICS}*"):
            if not _is_alive(left.name.removeprefix(METRICS)):
                shutil.rmtree(left, ignore_errors=True)
        metrics = folder / f"{METRICS}{os.getpid()}"
        shutil.rmtree(metrics, ignore_errors=True)
        metrics.mkdir(mode=0o700)
        return cls(folder, metrics)

    def forget_process(self, pid: int) -> None:
        """Take away everything that a process measured: it is no worker."""
        for file in self.metrics.glob(f"*_{pid}.db"):
            file.unlink(missing_ok=True)

    def forget_worker(self, pid: int) -> None:
        """Take a dead worker's gauges away; what it counted stays counted."""
        for file in self.metrics.glob(f"gauge_live*_{pid}.db"):
            file.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove what nobody needs after the end."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self.metrics)


def _is_alive(pid: str) -> bool:
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return int(pid) != os.getpid()
