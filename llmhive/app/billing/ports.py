"""What billing needs from outside: a store of events and their effects, Stripe, an observer.

Imports the model only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from llmhive.app.billing.model import (
    BillingAccount,
    BillingConfig,
    BillingEvent,
    Effects,
    Fact,
    Known,
    LedgerEntry,
    Outcome,
    Snapshot,
)


class Begun(StrEnum):
    """What the first transaction found."""

    TAKEN = "taken"
    """The event is ours to work on, for as long as the lease lasts; the attempt is counted."""
    IN_PROGRESS = "in_progress"
    """Another delivery holds its lease."""
    DONE = "done"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on one event."""

    event_id: str
    lease_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Beginning:
    """What became of a delivery in the first transaction; `lease` when it was taken."""

    begun: Begun
    lease: Lease | None = None


class BillingStore(Protocol):
    """Events and their effects, one transaction per method. All raise DependencyError."""

    async def begin(
        self, event: BillingEvent, body: bytes, config: BillingConfig, *, now: float
    ) -> Beginning:
        """Store an event, count the attempt and take its lease, if it is free and not done.

        An event whose attempts are used up, by workers that died of it too, is dead.
        """

    async def keep(self, event: BillingEvent, outcome: Outcome, *, now: float) -> bool:
        """Store an event that has no effect as done; False when it was stored before."""

    async def known(self, subscription_id: str) -> Known:
        """What is held of a subscription."""

    async def apply(self, lease: Lease, effects: Effects, fact: Fact, *, now: float) -> bool:
        """Apply what an event changes and mark it as done: all of it, or nothing.

        Gives: False when the lease was lost, or the subscription has moved since it was seen.
        """

    async def release(self, lease: Lease, *, is_dead: bool, now: float) -> None:
        """Give the lease back after a failure; a dead event is never tried again by itself."""

    async def account(self, user_id: str) -> BillingAccount:
        """A user with their customer's subscriptions."""

    async def ledger(self, user_id: str, *, at_most: int, skip: int) -> Sequence[LedgerEntry]:
        """Rows of the user's customer, the oldest event first."""

    async def end_graces(self, now: float) -> int:
        """Lower every user whose grace has run out; gives how many."""


class SubscriptionSource(Protocol):
    """Stripe, as far as it has to be asked."""

    async def subscription(self, subscription_id: str) -> Snapshot:
        """The subscription as it is now. Raises StripeError."""


class BillingObserver(Protocol):
    """Who is told what became of deliveries."""

    def rejected(self, reason: str) -> None:
        """A delivery was not believed."""

    def handled(self, kind: str, outcome: str) -> None:
        """A believed delivery ended so; both words are from closed sets."""
