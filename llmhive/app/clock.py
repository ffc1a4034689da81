"""Time as a value that a test can own. Imports nothing of the service.

Monotonic seconds decide durations; wall-clock seconds are for humans and for
vendors' time stamps only. Nothing else in the service may call `time.*`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from, and how to let it pass."""

    def monotonic(self) -> float:
        """Seconds that never step, for durations."""

    def wall(self) -> float:
        """Seconds since 1970, for humans and for vendors' stamps."""

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """Seconds of the system's monotonic clock."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970 by the system's calendar."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` of the event loop's time pass."""
        await asyncio.sleep(seconds)
