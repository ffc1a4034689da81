"""The numbers of breakers, retries and deadlines. Source: DESIGN 3.3, 3.4; checklist."""

from __future__ import annotations

from typing import Final

MIN_FAILURES: Final = 5
FAILURE_RATIO: Final = 0.5
WINDOW_S: Final = 30.0
OPEN_S: Final = 30.0
OPEN_JITTER: Final = 0.1  # 30 s give or take 10 %
OPEN_MAX_S: Final = 300.0
PROBES: Final = 3
SUCCESSES: Final = 3

COUNTED_STATUSES: Final = frozenset({408, *range(500, 600)})
NOT_COUNTED_STATUSES: Final = frozenset({400, 401, 403, 404, 413, 422})
COOL_DOWN_STATUS: Final = 429

ATTEMPTS_PER_PROVIDER: Final = 3
LLM_TIMEOUT_S: Final = 30.0
MAX_WALL_CLOCK_S: Final = 120.0
STREAM_IDLE_S: Final = 15.0


def counted_failures_max(workers: int, min_failures: int = MIN_FAILURES) -> int:
    """With so many counted failures in the window one of the workers must have opened."""
    return (min_failures - 1) * workers + 1
