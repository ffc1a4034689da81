"""One verification at a time: a lease on this service that a run takes, renews and gives back.

Two runs at once would spend each other's limits and judge each other's faults. A run that was
killed holds its lease until it expires; whoever takes it over is told whose it was, so that
they can clean up after it. Times are wall-clock seconds of the service.
May not import adapters. Source: DESIGN.md, section 4.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Final, Protocol

from llmhive.app.clock import Clock
from llmhive.app.errors import CallerError

NAME: Final = "verification"
# A run renews at thirds; shorter leases would be lost to a slow network, and after an hour
# nobody would wait for a killed run.
TTL_S_MIN: Final = 5.0
TTL_S_MAX: Final = 3600.0


@dataclass(frozen=True, slots=True)
class RunLease:
    """Who runs a verification; `lease_id` proves it and is told to the holder alone."""

    lease_id: str
    holder: str
    run: str
    acquired_at: float
    expires_at: float


class LeaseStore(Protocol):
    """Where the lease is kept, one transaction per method. All raise DependencyError."""

    async def current(self) -> RunLease | None:
        """The lease that was taken last, expired or not."""

    async def take(self, wanted: RunLease) -> RunLease | None:
        """Keep `wanted` unless another stands at its `acquired_at`.

        Gives: the one that was there before, expired if `wanted` is kept.
        """

    async def renew(self, lease_id: str, at: float, expires_at: float) -> RunLease | None:
        """Prolong the lease of that id if it stands at `at`; None when it does not."""

    async def release(self, lease_id: str) -> bool:
        """Give the lease of that id back; False when it is not the one that is kept."""


@dataclass(frozen=True, slots=True)
class Acquired:
    """A lease, and whose expired one it took over."""

    lease: RunLease
    took_over: RunLease | None


class RunLeases:
    """The lease as runs use it."""

    def __init__(self, store: LeaseStore, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def acquire(self, *, holder: str, run: str, ttl_s: float) -> Acquired:
        """Take the lease for `ttl_s`.

        Raises: CallerError (409 `lease_held`, definite) while another run has it, saying who
        and for how long; DependencyError.
        """
        now = self._clock.wall()
        wanted = RunLease(secrets.token_hex(16), holder, run, now, now + ttl_s)
        before = await self._store.take(wanted)
        if before is not None and before.expires_at > now:
            left_s = before.expires_at - now
            raise CallerError(
                f"Run {before.run} of {before.holder} holds the lease for {left_s:.0f} s more.",
                code="lease_held",
                http_status=409,
            )
        return Acquired(wanted, before)

    async def renew(self, lease_id: str, *, ttl_s: float) -> RunLease:
        """Hold the lease for `ttl_s` from now.

        Raises: CallerError (409 `lease_lost`, definite) when it expired or was given back;
        DependencyError.
        """
        now = self._clock.wall()
        renewed = await self._store.renew(lease_id, now, now + ttl_s)
        if renewed is None:
            raise CallerError("This lease has ended.", code="lease_lost", http_status=409)
        return renewed

    async def release(self, lease_id: str) -> None:
        """Give the lease back.

        Raises: CallerError (409 `lease_lost`, definite) when another run has it by now;
        DependencyError.
        """
        if not await self._store.release(lease_id):
            raise CallerError("This lease has ended.", code="lease_lost", http_status=409)

    async def current(self) -> RunLease | None:
        """The lease that stands now, its id left out."""
        found = await self._store.current()
        if found is None or found.expires_at <= self._clock.wall():
            return None
        return replace(found, lease_id="")

    def remaining_s(self, lease: RunLease) -> float:
        """How long a lease lasts from now on."""
        return max(0.0, lease.expires_at - self._clock.wall())
