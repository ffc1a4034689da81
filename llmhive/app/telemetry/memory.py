"""The resident memory of this process, as a metric that is summed over the workers."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final

from llmhive.app.telemetry import metrics

STATM: Final = Path("/proc/self/statm")
KIBIBYTE: Final = 1024


def resident_bytes() -> int:
    """Bytes in RAM now; where the kernel does not tell, the most there ever were."""
    try:
        pages = int(STATM.read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTE
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure() -> None:
    """Set the metric."""
    metrics.MEMORY.set(resident_bytes())
