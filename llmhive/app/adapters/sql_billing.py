"""Billing in the database: events under leases, subscriptions, facts, the ledger.

Each method is one transaction; on SQLite those that write begin with BEGIN IMMEDIATE, elsewhere
rows are locked. Imports billing's ports and models only.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Select, delete, insert, or_, select, update
from sqlalchemy.engine import Connection

from llmhive.app.adapters.sql_database import Database
from llmhive.app.adapters.sql_entitlements import (
    lapsed_customers,
    refresh_tier,
    state_of,
    subscriptions_of,
)
from llmhive.app.adapters.sql_schema import (
    billing_events,
    billing_facts,
    billing_ledger,
    billing_subscriptions,
    users,
)
from llmhive.app.billing.model import (
    LEAST_TIER,
    BillingAccount,
    BillingConfig,
    BillingEvent,
    Effects,
    Fact,
    Known,
    LedgerEntry,
    Outcome,
    SubscriptionState,
)
from llmhive.app.billing.ports import Beginning, Begun, Lease

OPEN: Final = "open"
DEAD: Final = Outcome.DEAD.value


class SqlBilling:
    """A BillingStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self, event: BillingEvent, body: bytes, config: BillingConfig, *, now: float
    ) -> Beginning:
        """Store an event, count the attempt and take its lease."""

        def work(connection: Connection) -> Beginning:
            row = connection.execute(_event(event.event_id).with_for_update()).one_or_none()
            if row is None:
                kept = {**_told(event, now), "state": OPEN, "attempts": 0, "body": body.decode()}
                connection.execute(insert(billing_events).values(kept))
                return _take(connection, event.event_id, 1, now + config.lease_s)
            begun = _found(row, config, now)
            if begun is Begun.TAKEN:
                return _take(connection, event.event_id, row.attempts + 1, now + config.lease_s)
            if begun is Begun.DEAD and row.state == OPEN:
                connection.execute(_change(event.event_id, state=DEAD, done_at=now))
            return Beginning(begun)

        return await self._database.run_racing(work)

    async def keep(self, event: BillingEvent, outcome: Outcome, *, now: float) -> bool:
        """Store an event without effect as done."""

        def work(connection: Connection) -> bool:
            if connection.execute(_event(event.event_id)).one_or_none() is not None:
                return False
            kept = {**_told(event, now), "state": outcome.value, "attempts": 0, "done_at": now}
            connection.execute(insert(billing_events).values(kept))
            return True

        return await self._database.run_racing(work)

    async def known(self, subscription_id: str) -> Known:
        """What is held of a subscription."""

        def work(connection: Connection) -> Known:
            row = connection.execute(_subscription(subscription_id)).one_or_none()
            facts = select(billing_facts).where(billing_facts.c.subscription == subscription_id)
            return Known(
                state=state_of(row) if row is not None else None,
                facts=tuple(
                    Fact(row.type, row.created, row.status, row.invoice)
                    for row in connection.execute(facts)
                ),
            )

        return await self._database.read(work)

    async def apply(self, lease: Lease, effects: Effects, fact: Fact, *, now: float) -> bool:
        """Apply what an event changes and mark it as done."""

        def work(connection: Connection) -> bool:
            row = connection.execute(_event(lease.event_id).with_for_update()).one_or_none()
            if row is None or row.state != OPEN or row.lease_id != lease.lease_id:
                return False
            if not _store_state(connection, lease.event_id, effects, fact):
                return False
            if effects.entry is not None:
                _link(connection, effects.entry.customer, effects.link_user)
                _enter(connection, effects.entry)
                refresh_tier(connection, effects.entry.customer, now)
            done = {"state": Outcome.APPLIED.value, "done_at": now, "body": None}
            connection.execute(_change(lease.event_id, **done, lease_id=None, lease_until=None))
            return True

        return await self._database.run_racing(work)

    async def release(self, lease: Lease, *, is_dead: bool, now: float) -> None:
        """Give the lease back after a failure."""
        dead: dict[str, Any] = {"state": DEAD, "done_at": now} if is_dead else {}
        change = _change(lease.event_id, lease_id=None, lease_until=None, **dead)
        ours = change.where(billing_events.c.lease_id == lease.lease_id)
        await self._database.run(lambda connection: connection.execute(ours))

    async def account(self, user_id: str) -> BillingAccount:
        """A user with their customer's subscriptions."""

        def work(connection: Connection) -> BillingAccount:
            row = connection.execute(select(users).where(users.c.id == user_id)).one_or_none()
            if row is None:
                return BillingAccount(user_id, LEAST_TIER)
            held = subscriptions_of(connection, row.stripe_customer)
            return BillingAccount(user_id, row.tier, held)

        return await self._database.read(work)

    async def ledger(self, user_id: str, *, at_most: int, skip: int) -> Sequence[LedgerEntry]:
        """Rows of the user's customer, the oldest event first."""
        rows = (
            select(billing_ledger)
            .join(users, users.c.stripe_customer == billing_ledger.c.customer)
            .where(users.c.id == user_id)
            .order_by(billing_ledger.c.created, billing_ledger.c.event)
            .limit(at_most)
            .offset(skip)
        )
        return await self._database.read(
            lambda connection: [LedgerEntry(**row._asdict()) for row in connection.execute(rows)]
        )

    async def end_graces(self, now: float) -> int:
        """Lower every user whose grace has run out."""
        lapsed = await self._database.read(lambda connection: lapsed_customers(connection, now))
        if not lapsed:
            return 0
        return await self._database.run(
            lambda connection: sum(refresh_tier(connection, one, now) for one in lapsed)
        )


def _event(event_id: str) -> Select[Any]:
    return select(billing_events).where(billing_events.c.id == event_id)


def _subscription(subscription_id: str) -> Select[Any]:
    return select(billing_subscriptions).where(billing_subscriptions.c.id == subscription_id)


def _change(event_id: str, **values: object) -> Any:
    return update(billing_events).where(billing_events.c.id == event_id).values(values)


def _told(event: BillingEvent, now: float) -> dict[str, Any]:
    return {
        "id": event.event_id,
        "type": event.type,
        "created": event.created,
        "customer": event.customer,
        "received_at": now,
    }


def _found(row: Any, config: BillingConfig, now: float) -> Begun:
    if row.state == DEAD:
        return Begun.DEAD
    if row.state != OPEN:
        return Begun.DONE
    # A lease longer than a lease is one of before the clock was set back.
    if row.lease_until is not None and now < row.lease_until <= now + config.lease_s:
        return Begun.IN_PROGRESS
    return Begun.DEAD if row.attempts >= config.attempts_max else Begun.TAKEN


def _take(connection: Connection, event_id: str, attempt: int, until: float) -> Beginning:
    lease = Lease(event_id, secrets.token_hex(16), attempt)
    taken = {"attempts": attempt, "lease_id": lease.lease_id, "lease_until": until}
    connection.execute(_change(event_id, **taken))
    return Beginning(Begun.TAKEN, lease)


def _store_state(connection: Connection, event_id: str, effects: Effects, fact: Fact) -> bool:
    """Keep a subscription's new state and the fact behind it; False when it has moved."""
    state = effects.state
    if state is None:
        return True
    row = connection.execute(_subscription(state.subscription_id).with_for_update()).one_or_none()
    if (row.version if row is not None else 0) != effects.seen_version:
        return False
    known = billing_subscriptions.c.id == state.subscription_id
    connection.execute(delete(billing_subscriptions).where(known))
    connection.execute(insert(billing_subscriptions).values(_columns(state)))
    proven = {"event": event_id, "subscription": state.subscription_id, "customer": state.customer}
    connection.execute(insert(billing_facts).values({**proven, **asdict(fact)}))
    return True


def _columns(state: SubscriptionState) -> dict[str, Any]:
    told = asdict(state)
    return {"id": told.pop("subscription_id"), **told}


def _link(connection: Connection, customer: str, user_id: str | None) -> None:
    """Tie a customer to the user who paid, unless one of them is tied already."""
    if user_id is None:
        return
    owned = select(users.c.id).where(users.c.stripe_customer == customer)
    if connection.execute(owned).first() is None:
        free = (users.c.id == user_id, users.c.stripe_customer.is_(None))
        connection.execute(update(users).where(*free).values(stripe_customer=customer))


def _enter(connection: Connection, entry: LedgerEntry) -> None:
    """Add a row, unless this event, or another of its invoice and kind, has added one."""
    told = billing_ledger.c
    same = [told.event == entry.event]
    if entry.invoice is not None:
        same.append((told.invoice == entry.invoice) & (told.kind == entry.kind))
    if connection.execute(select(told.event).where(or_(*same))).first() is None:
        connection.execute(insert(billing_ledger).values(asdict(entry)))
