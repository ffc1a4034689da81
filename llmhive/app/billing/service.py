"""A delivery from the raw body to what is answered: believed, begun, fetched for, applied.

Two transactions with whatever has to be fetched between them and outside of both: the first
stores the event and takes its lease, the second looks again, applies and marks it as done. So
an acknowledged event is done, and one that is not is delivered again. Only the holder of the
lease counts an attempt. May not import adapters. Source: DESIGN.md, section 3.6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from llmhive.app.billing.model import (
    BillingAccount,
    BillingConfig,
    BillingEvent,
    EventInProgressError,
    LedgerEntry,
    Outcome,
    Rejection,
)
from llmhive.app.billing.payloads import parse_event
from llmhive.app.billing.ports import (
    Beginning,
    Begun,
    BillingObserver,
    BillingStore,
    Lease,
    SubscriptionSource,
)
from llmhive.app.billing.signature import verify
from llmhive.app.billing.transitions import Fetched, decide, fact_of, needs_object
from llmhive.app.clock import Clock
from llmhive.app.errors import DependencyError, LLMHiveError

# A duplicate looks this often whether the delivery that works is done.
LOOK_S: Final = 0.05
# Two events of one subscription may overtake each other; more often than this is no accident.
TRIES: Final = 4
# A limit of a lapsed grace is lowered within 5 s on all workers, of which keys take up to 2.
SWEEP_S: Final = 2.0
RETRY_AFTER_S: Final = 1


class BillingService:
    """Deliveries, and what users may read of their own."""

    def __init__(
        self,
        store: BillingStore,
        stripe: SubscriptionSource,
        secrets: Sequence[str],
        config: BillingConfig,
        *,
        clock: Clock,
        observer: BillingObserver,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._secrets = tuple(secrets)
        self._config = config
        self._clock = clock
        self._observer = observer

    def reject(self, reason: Rejection) -> None:
        """Count a delivery that was refused before it could be looked at."""
        self._observer.rejected(reason.value)

    async def take(self, body: bytes, signature: bytes | None) -> Outcome:
        """Take a delivery; whatever this gives is to be acknowledged.

        Raises: DeliveryRejectedError (4xx, definite); EventInProgressError, StripeError and
        DependencyError (503): it has to be delivered again.
        """
        now, tolerance_s = self._clock.wall(), self._config.tolerance_s
        try:
            verify(body, signature, self._secrets, now=now, tolerance_s=tolerance_s)
            event = parse_event(body)
        except LLMHiveError as error:
            self.reject(getattr(error, "reason", Rejection.MALFORMED_BODY))
            raise
        outcome = Outcome.FAILED
        try:
            outcome = await self._taken(event, body)
        except EventInProgressError:
            outcome = Outcome.IN_PROGRESS
            raise
        finally:
            self._observer.handled(event.told_type, outcome.value)
        return outcome

    async def _taken(self, event: BillingEvent, body: bytes) -> Outcome:
        without_effect = self._without_effect(event)
        if without_effect is not None:
            is_new = await self._store.keep(event, without_effect, now=self._clock.wall())
            return without_effect if is_new else Outcome.DUPLICATE
        beginning = await self._begin(event, body)
        if beginning.lease is None:
            return Outcome.DEAD if beginning.begun is Begun.DEAD else Outcome.DUPLICATE
        return await self._work(event, beginning.lease)

    def _without_effect(self, event: BillingEvent) -> Outcome | None:
        """Why an event is stored and nothing else, None when it has an effect."""
        if event.account is not None:
            return Outcome.FOREIGN_ACCOUNT
        if not event.is_handled:
            return Outcome.IGNORED
        is_wrong = self._config.is_live is not None and event.is_live != self._config.is_live
        return Outcome.WRONG_LIVEMODE if is_wrong else None

    async def _begin(self, event: BillingEvent, body: bytes) -> Beginning:
        """Begin, waiting a little for another delivery of the same event.

        Raises: EventInProgressError when that one is still at work.
        """
        give_up_at = self._clock.monotonic() + self._config.wait_s
        while True:
            beginning = await self._store.begin(event, body, self._config, now=self._clock.wall())
            if beginning.begun is not Begun.IN_PROGRESS:
                return beginning
            if self._clock.monotonic() >= give_up_at:
                raise EventInProgressError(retry_after_s=RETRY_AFTER_S)
            await self._clock.sleep(LOOK_S)

    async def _work(self, event: BillingEvent, lease: Lease) -> Outcome:
        """Apply an event under its lease; a failure gives the lease back, or ends in death."""
        is_applied = is_dead = False
        try:
            await self._apply(event, lease)
            is_applied = True
        except DependencyError:
            is_dead = lease.attempt >= self._config.attempts_max
            if not is_dead:
                raise
        finally:
            if not is_applied:
                await asyncio.shield(self._give_back(lease, is_dead=is_dead))
        return Outcome.APPLIED if is_applied else Outcome.DEAD

    async def _give_back(self, lease: Lease, *, is_dead: bool) -> None:
        # Without the database it is not given back, and ends by itself.
        with suppress(DependencyError):
            await self._store.release(lease, is_dead=is_dead, now=self._clock.wall())

    async def _apply(self, event: BillingEvent, lease: Lease) -> None:
        for _ in range(TRIES):
            known = await self._store.known(event.subscription or "")
            fetched = await self._fetched(event) if needs_object(event, known) else None
            effects = decide(event, known, fetched, self._config)
            now = self._clock.wall()
            if await self._store.apply(lease, effects, fact_of(event), now=now):
                return
        raise EventInProgressError(retry_after_s=RETRY_AFTER_S)

    async def _fetched(self, event: BillingEvent) -> Fetched:
        asked_at = self._clock.wall()
        return Fetched(await self._stripe.subscription(event.subscription or ""), asked_at)

    async def account(self, user_id: str) -> BillingAccount:
        """A user with what Stripe sells them. Raises DependencyError."""
        return await self._store.account(user_id)

    async def ledger(self, user_id: str, *, at_most: int, skip: int) -> Sequence[LedgerEntry]:
        """A user's rows. Raises DependencyError."""
        return await self._store.ledger(user_id, at_most=at_most, skip=skip)

    def now(self) -> float:
        """Wall-clock seconds, by which entitlements are told."""
        return self._clock.wall()

    async def end_graces_forever(self) -> None:
        """Lower those whose grace has run out, again and again."""
        while True:
            await self._store.end_graces(self._clock.wall())
            await self._clock.sleep(SWEEP_S)
