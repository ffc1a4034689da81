"""Shifting the wall clock of a service from outside, with libfaketime. A leaf.

The library reads the shift from a file again and again, so a clock can be stepped while the
service runs; monotonic time is left alone, as it is when an operator sets a clock.
Source: libfaketime 0.9.10, README: FAKETIME_TIMESTAMP_FILE, FAKETIME_DONT_FAKE_MONOTONIC,
FAKETIME_FORCE_MONOTONIC_FIX.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

# Where distributions put it; the second is for programs with threads.
FOLDERS: Final = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/lib64/faketime")
LIBRARY: Final = "libfaketimeMT.so.1"
# Relative to the folder in which the service runs, so that each stack has its own.
SHIFT_FILE: Final = "clock-shift"


def faketime() -> Path | None:
    """The installed libfaketime, None when there is none."""
    found = (
        path for folder in FOLDERS for path in Path("/").glob(f"{folder.lstrip('/')}/{LIBRARY}")
    )
    return next(found, None)


def shiftable() -> dict[str, str]:
    """The variables that make a service's wall clock shiftable; {} without the library."""
    found = faketime()
    if found is None:
        return {}
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME_TIMESTAMP_FILE": SHIFT_FILE,
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # Waits on the monotonic clock would end at once, and whoever waits for a lock would spin.
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }


def shift(folder: Path, by_s: float) -> None:
    """Set the wall clock of the service that runs in `folder` to so many seconds ahead."""
    fresh = folder / f"{SHIFT_FILE}.new"
    fresh.write_text(f"{by_s:+.3f}\n")
    fresh.replace(folder / SHIFT_FILE)
