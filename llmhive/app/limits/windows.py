"""Rolling windows of many users in this process's memory, by the same arithmetic as Redis's.

Two use it: the shadow that every worker keeps, and the store of tests. Users who have been
idle for a window are forgotten, two looked at for each one added, so memory is bounded by
who was active lately and no moment pays for all. Pure: times are given, in milliseconds.
Source: DESIGN.md, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmhive.app.limits.model import (
    BUCKETS,
    IN_FLIGHT_RETRY_MS,
    Decision,
    Demand,
    Limit,
    bucket_number,
    leaves_at_ms,
)

REQUESTS, TOKENS = 0, 1
# Users looked at for each one added: more than one, so that the idle ones grow fewer.
LOOKED_AT = 2


class UserWindow:
    """One user's buckets, oldest first, their sums, and the leases of what is in flight."""

    __slots__ = ("buckets", "leases", "sums")

    def __init__(self) -> None:
        self.buckets: dict[int, list[int]] = {}
        self.sums = [0, 0]
        self.leases: dict[str, int] = {}

    def trim(self, oldest: int) -> None:
        """Forget the buckets before `oldest`."""
        buckets, sums = self.buckets, self.sums
        while buckets:
            number = next(iter(buckets))
            if number >= oldest:
                return
            requests, tokens = buckets.pop(number)
            sums[REQUESTS] -= requests
            sums[TOKENS] -= tokens

    def add(self, number: int, requests: int, tokens: int) -> None:
        """Count in a bucket; a refund is a negative number, and takes what is there at most."""
        counts = self.buckets.get(number)
        if counts is None:
            if tokens < 0:
                return
            is_late = bool(self.buckets) and number < next(reversed(self.buckets))
            counts = self.buckets[number] = [0, 0]
            if is_late:
                self.buckets = dict(sorted(self.buckets.items()))
        tokens = max(tokens, -counts[TOKENS])
        counts[REQUESTS] += requests
        counts[TOKENS] += tokens
        self.sums[REQUESTS] += requests
        self.sums[TOKENS] += tokens

    def leaving(self, column: int, excess: int) -> int | None:
        """The bucket with which at least `excess` will have left, oldest first."""
        for number, counts in self.buckets.items():
            excess -= counts[column]
            if excess <= 0 and counts[column]:
                return number
        return None


class Windows:
    """The windows of every user who was active lately."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._users: dict[str, UserWindow] = {}

    def __len__(self) -> int:
        return len(self._users)

    def admit(self, demand: Demand, now_ms: int, lease_ms: int) -> Decision:
        """Decide, and count the request if it is admitted; its lease lasts for `lease_ms`."""
        number = bucket_number(now_ms, self._window_ms)
        window = self._user(demand.user, now_ms)
        refused_by, wait_ms = self._refusal(window, demand, now_ms)
        if refused_by is None:
            window.add(number, 1, demand.tokens)
            window.leases[demand.operation_id] = now_ms + lease_ms
        start, bucket = divmod(number, BUCKETS)
        return Decision(
            refused_by=refused_by,
            requests_used=window.sums[REQUESTS],
            tokens_used=window.sums[TOKENS],
            wait_ms=wait_ms,
            requests_reset_ms=self._wait_ms(window, REQUESTS, 1, now_ms),
            tokens_reset_ms=self._wait_ms(window, TOKENS, 1, now_ms),
            window_start_ms=start * self._window_ms,
            bucket=bucket,
            requests_limit=demand.limits.requests,
        )

    def count(self, demand: Demand, now_ms: int) -> int:
        """Count a request that was admitted elsewhere, and give the number of its bucket."""
        number = bucket_number(now_ms, self._window_ms)
        window = self._user(demand.user, now_ms)
        window.add(number, 1, demand.tokens)
        window.leases[demand.operation_id] = now_ms
        return number

    def add(self, user: str, at_ms: int, requests: int, tokens: int) -> None:
        """Count what happened at `at_ms`."""
        window = self._users.get(user) or self._user(user, at_ms)
        window.add(bucket_number(at_ms, self._window_ms), requests, tokens)

    def settle(self, user: str, operation_id: str, number: int, surplus: int, now_ms: int) -> None:
        """End a lease; give tokens back to bucket `number` if it lives, or charge this one."""
        window = self._user(user, now_ms)
        window.leases.pop(operation_id, None)
        if surplus < 0:
            window.add(number, 0, surplus)
        elif surplus > 0:
            window.add(bucket_number(now_ms, self._window_ms), 0, surplus)

    def lease(self, user: str, operation_ids: Iterable[str], now_ms: int, lease_ms: int) -> None:
        """Give leases to what is in flight, or prolong those that it has."""
        self._user(user, now_ms).leases.update(dict.fromkeys(operation_ids, now_ms + lease_ms))

    def leases(self, user: str) -> dict[str, int]:
        """The leases of a user: operation id -> end."""
        window = self._users.get(user)
        return window.leases if window else {}

    def expire(self, user: str, now_ms: int) -> None:
        """Forget the leases of a user that have ended."""
        leases = self.leases(user)
        for operation_id in [key for key, end in leases.items() if end <= now_ms]:
            del leases[operation_id]

    def forget_idle(self, now_ms: int, looks: int = LOOKED_AT) -> None:
        """Look at so many users, longest known first, and forget those who have been idle."""
        oldest = bucket_number(now_ms, self._window_ms) - BUCKETS
        for _ in range(min(looks, len(self._users))):
            user = next(iter(self._users))
            window = self._users.pop(user)
            window.trim(oldest)
            if window.buckets or window.leases:
                self._users[user] = window

    def _user(self, user: str, now_ms: int) -> UserWindow:
        window = self._users.get(user)
        if window is None:
            self.forget_idle(now_ms)
            window = self._users[user] = UserWindow()
        window.trim(bucket_number(now_ms, self._window_ms) - BUCKETS)
        return window

    def _refusal(self, window: UserWindow, demand: Demand, now_ms: int) -> tuple[Limit | None, int]:
        """The first exhausted limit, and the longest wait for any of the exhausted windows."""
        limits, sums = demand.limits, window.sums
        refused_by, wait_ms = None, 0
        if len(window.leases) >= limits.in_flight:
            refused_by, wait_ms = Limit.IN_FLIGHT, IN_FLIGHT_RETRY_MS
        if (excess := sums[TOKENS] + demand.tokens - limits.tokens) > 0:
            refused_by = Limit.TOKENS
            wait_ms = max(wait_ms, self._wait_ms(window, TOKENS, excess, now_ms))
        if (excess := sums[REQUESTS] + 1 - limits.requests) > 0:
            refused_by = Limit.REQUESTS
            wait_ms = max(wait_ms, self._wait_ms(window, REQUESTS, excess, now_ms))
        return refused_by, wait_ms

    def _wait_ms(self, window: UserWindow, column: int, excess: int, now_ms: int) -> int:
        """How long until so many have left; a whole window where that many never were."""
        number = window.leaving(column, excess)
        if number is None:
            return self._window_ms
        return leaves_at_ms(number, self._window_ms) - now_ms
