"""Windows in this process's memory: for tests, and as the plainest reading of the port.

Imports the port and the model's arithmetic only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from llmhive.app.clock import Clock
from llmhive.app.limits.model import (
    BUCKETS,
    Decision,
    Demand,
    LimitConfig,
    Past,
    Settlement,
    bucket_number,
)
from llmhive.app.limits.ports import WindowStoreError
from llmhive.app.limits.windows import Windows


class MemoryWindowStore:
    """A WindowStore of one process; `is_away` makes it as unreachable as a dead Redis."""

    def __init__(self, clock: Clock, config: LimitConfig) -> None:
        self._clock = clock
        self._config = config
        self._windows = Windows(config.window_ms)
        self._watchers: list[Callable[[], None]] = []
        self.is_away = False

    def watch(self, returned: Callable[[], None]) -> None:
        """Have `returned` called by `come_back`."""
        self._watchers.append(returned)

    def come_back(self) -> None:
        """Be reachable again, and say so."""
        self.is_away = False
        for returned in self._watchers:
            returned()

    async def admit(self, demand: Demand, orphaned: Callable[[Decision], None]) -> Decision:
        """Decide at once, so nobody can leave meanwhile."""
        del orphaned
        now_ms = self._reached()
        self._windows.expire(demand.user, now_ms)
        return self._windows.admit(demand, now_ms, self._config.lease_ms)

    async def settle(self, settlement: Settlement) -> None:
        """End the lease; correct the tokens."""
        now_ms, window_ms = self._reached(), self._config.window_ms
        number = settlement.window_start_ms // window_ms * BUCKETS + settlement.bucket
        is_alive = number >= bucket_number(now_ms, window_ms) - BUCKETS
        surplus = settlement.surplus if is_alive else max(0, settlement.surplus)
        self._windows.settle(settlement.user, settlement.operation_id, number, surplus, now_ms)

    async def renew(self, user: str, given: Sequence[str], merged: Sequence[str]) -> None:
        """Prolong leases; put back those that `admit` gave."""
        now_ms = self._reached()
        self._windows.expire(user, now_ms)
        self._lease(user, set(given) | set(merged) & set(self._windows.leases(user)), now_ms)

    async def merge(self, user: str, pasts: Mapping[str, Past], live: Sequence[str]) -> None:
        """Count what a worker admitted by itself; give leases to what is live."""
        now_ms = self._reached()
        leases = self._windows.leases(user)
        for operation_id, past in pasts.items():
            if not (past.is_unsure and operation_id in leases):
                self._windows.add(user, past.at_ms, past.requests, past.tokens)
        self._lease(user, set(live), now_ms)

    def _lease(self, user: str, operation_ids: set[str], now_ms: int) -> None:
        self._windows.lease(user, operation_ids, now_ms, self._config.lease_ms)

    def _reached(self) -> int:
        if self.is_away:
            raise WindowStoreError(definite=True)
        return int(self._clock.monotonic() * 1000)
