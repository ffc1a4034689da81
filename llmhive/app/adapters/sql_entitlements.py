"""What a customer's subscriptions entitle their user to, written where keys are looked up.

Called inside the transactions that change either side. Imports billing's model only.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.engine import Connection

from llmhive.app.adapters.sql_schema import billing_subscriptions, users
from llmhive.app.billing.model import SubscriptionState, entitled_tier

GRACE_BATCH = 500


def subscriptions_of(connection: Connection, customer: str | None) -> tuple[SubscriptionState, ...]:
    """Every subscription that is held of a customer."""
    if customer is None:
        return ()
    found = select(billing_subscriptions).where(billing_subscriptions.c.customer == customer)
    return tuple(state_of(row) for row in connection.execute(found))


def refresh_tier(connection: Connection, customer: str, now: float) -> int:
    """Let the customer's user have what they are entitled to at `now`; gives rows changed."""
    tier = entitled_tier(subscriptions_of(connection, customer), now)
    theirs = (users.c.stripe_customer == customer, users.c.entitled_tier != tier)
    return connection.execute(update(users).where(*theirs).values(entitled_tier=tier)).rowcount


def lapsed_customers(connection: Connection, now: float) -> list[str]:
    """Customers with a tier, one of whose graces is over; those it ended for last come first.

    Whoever keeps a tier by another subscription stays among them, and must crowd out nobody.
    """
    held = billing_subscriptions.c
    over = (
        select(users.c.stripe_customer)
        .join(billing_subscriptions, held.customer == users.c.stripe_customer)
        .where(held.status == "past_due", held.grace_ends <= now, users.c.entitled_tier != "free")
        .group_by(users.c.stripe_customer)
        .order_by(func.max(held.grace_ends).desc())
        .limit(GRACE_BATCH)
    )
    return [str(row.stripe_customer) for row in connection.execute(over)]


def state_of(row: Any) -> SubscriptionState:
    """A row of the table as a value."""
    return SubscriptionState(
        subscription_id=row.id,
        customer=row.customer,
        status=row.status,
        tier=row.tier,
        price=row.price,
        current_period_end=row.current_period_end,
        cancel_at_period_end=bool(row.cancel_at_period_end),
        taken_at=row.taken_at,
        past_due_since=row.past_due_since,
        grace_ends=row.grace_ends,
        version=row.version,
    )
