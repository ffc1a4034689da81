"""Locust's view of a run: as many callers as can be needed, until the schedule is over.

Locust's shapes change the number of users; an open loop changes the rate of arrivals instead, so
this one only makes room for all who may be waiting at once. Loaded by generators only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from locust import LoadTestShape

# Callers do nothing until a request is due, so they are made as quickly as Locust can.
SPAWN_PER_S: Final = 100.0


class OpenLoop(LoadTestShape):
    """All callers at once, and the end when the run says so."""

    callers: int = 0
    is_over: Callable[[], bool] = staticmethod(lambda: False)

    def tick(self) -> tuple[int, float] | None:
        """How many callers there are to be; None ends the run."""
        if self.is_over():
            return None
        return self.callers, max(SPAWN_PER_S, float(self.callers))
