"""What one worker remembers of its own decisions, so that an outage of Redis is no reset.

It counts whatever this worker admits, shared decisions too, and decides alone, at the
worker's share, while the shared windows are away. What it admitted alone is kept until it
has been counted where all workers count, once. Pure: times are given, in milliseconds.
Source: DESIGN.md, section 3.2.
"""

from __future__ import annotations

from llmhive.app.limits.model import (
    BUCKETS,
    Decision,
    Demand,
    LimitConfig,
    Past,
    bucket_number,
)
from llmhive.app.limits.windows import Windows


class Shadow:
    """One worker's windows at the worker's share, and what is to be merged."""

    def __init__(self, config: LimitConfig) -> None:
        self._window_ms = config.window_ms
        self._lease_ms = config.lease_ms
        self._windows = Windows(config.window_ms)
        self._unmerged: dict[str, dict[str, Past]] = {}

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def unmerged(self) -> list[str]:
        """The users of whom something is to be merged."""
        return list(self._unmerged)

    def has_unmerged(self, user: str) -> bool:
        """Whether something of the user is to be merged."""
        return user in self._unmerged

    def follow(self, demand: Demand, now_ms: int) -> int:
        """Count what the shared windows admitted, and give the bucket's number."""
        return self._windows.count(demand, now_ms)

    def admit(self, demand: Demand, now_ms: int) -> Decision:
        """Decide alone."""
        return self._windows.admit(demand, now_ms, self._lease_ms)

    def keep(self, demand: Demand, now_ms: int, *, is_unsure: bool) -> None:
        """Keep what was admitted alone; `is_unsure`: the shared windows may have counted it."""
        past = Past(now_ms, 1, demand.tokens, is_unsure)
        self._unmerged.setdefault(demand.user, {})[demand.operation_id] = past

    def in_flight(self, user: str) -> list[str]:
        """The user's operations that have not ended."""
        return list(self._windows.leases(user))

    def settle(
        self, user: str, operation_id: str, *, number: int, surplus: int, now_ms: int
    ) -> None:
        """End what is in flight, and correct its tokens where this worker counted them."""
        self._windows.settle(user, operation_id, number, surplus, now_ms)

    def correct(self, user: str, operation_id: str, *, surplus: int, now_ms: int) -> None:
        """Correct what is still to be merged; what was merged gives nothing back."""
        waiting = self._unmerged.setdefault(user, {})
        past = waiting.get(operation_id)
        if past is not None:
            waiting[operation_id] = past._replace(tokens=max(0, past.tokens + surplus))
        elif surplus > 0:
            waiting[operation_id] = Past(now_ms, 0, surplus, is_unsure=False)
        if not waiting:
            del self._unmerged[user]

    def take(self, user: str, now_ms: int) -> dict[str, Past]:
        """Take what is to be merged of a user and has not left the window yet."""
        oldest = bucket_number(now_ms, self._window_ms) - BUCKETS
        pasts = self._unmerged.pop(user, {})
        return {
            operation_id: past
            for operation_id, past in pasts.items()
            if bucket_number(past.at_ms, self._window_ms) >= oldest
        }

    def put_back(self, user: str, pasts: dict[str, Past]) -> None:
        """Keep what surely was not merged for the next time."""
        if pasts:
            self._unmerged[user] = pasts | self._unmerged.get(user, {})

    def forget_old(self, now_ms: int, looks: int) -> None:
        """Forget idle users and what has left the window unmerged, a few at a time."""
        self._windows.forget_idle(now_ms, looks)
        for user in self.unmerged[:looks]:
            self.put_back(user, self.take(user, now_ms))
