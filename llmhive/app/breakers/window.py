"""What happened lately, in constant space and time: a ring of buckets.

Pure: no clock, no I/O; the caller says what time it is, in monotonic seconds.
"""

from __future__ import annotations

# The window forgets in steps of 1/60: nothing older than the window is ever counted,
# and nothing younger than 59/60 of it is forgotten.
BUCKETS = 60


class OutcomeWindow:
    """Attempts and failures of the last `window_s` seconds, as running totals."""

    __slots__ = (
        "_attempts",
        "_bucket_s",
        "_failures",
        "_tick",
        "_tick_ends",
        "attempts",
        "failures",
    )

    def __init__(self, window_s: float) -> None:
        self._bucket_s = window_s / BUCKETS
        self._attempts = [0] * BUCKETS
        self._failures = [0] * BUCKETS
        self._tick = 0
        self._tick_ends = 0.0
        self.attempts = 0
        self.failures = 0

    def record(self, now: float, *, failed: bool) -> None:
        """Count one attempt that ended at `now`."""
        if now >= self._tick_ends:
            self.advance(now)
        bucket = self._tick % BUCKETS
        self._attempts[bucket] += 1
        self.attempts += 1
        if failed:
            self._failures[bucket] += 1
            self.failures += 1

    def advance(self, now: float) -> None:
        """Forget what has left the window by `now`."""
        tick = int(now / self._bucket_s)
        if tick <= self._tick:
            return
        for passed in range(max(self._tick + 1, tick - BUCKETS + 1), tick + 1):
            bucket = passed % BUCKETS
            self.attempts -= self._attempts[bucket]
            self.failures -= self._failures[bucket]
            self._attempts[bucket] = self._failures[bucket] = 0
        self._tick = tick
        self._tick_ends = (tick + 1) * self._bucket_s

    def clear(self) -> None:
        """Forget everything."""
        self._attempts = [0] * BUCKETS
        self._failures = [0] * BUCKETS
        self.attempts = self.failures = 0
