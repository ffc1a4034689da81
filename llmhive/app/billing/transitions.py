"""What an event changes, decided on what is known: any order of events ends in the same state.

Why that holds. A subscription's status comes from its objects only. A snapshot is taken as it
is only if it is strictly newer than everything seen before; otherwise the object is fetched,
and what is fetched is newer than every event that has been delivered. So whichever event comes
last, either it was the newest, or the object was fetched after all of them. Terminal statuses
are for ever, so they are taken from any snapshot. When grace began follows from the set of
facts alone, which has no order. No I/O, no clock. Source: DESIGN.md, section 3.6.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from llmhive.app.billing.model import (
    TERMINAL,
    BillingConfig,
    BillingEvent,
    Effects,
    EventType,
    Fact,
    Known,
    LedgerEntry,
    Snapshot,
    Status,
    SubscriptionState,
    best_tier,
)

HEALTHY = frozenset({Status.ACTIVE.value, Status.TRIALING.value})


@dataclass(frozen=True, slots=True)
class Fetched:
    """A subscription as Stripe answered; `at`: when it was asked, wall-clock seconds."""

    snapshot: Snapshot
    at: float


def needs_object(event: BillingEvent, known: Known) -> bool:
    """Whether the subscription has to be fetched before this event can be applied."""
    if event.customer is None or event.subscription is None:
        return False
    if known.state is not None and known.state.is_terminal:
        return False
    if event.snapshot is None:
        return True
    if event.snapshot.status in TERMINAL:
        return False
    if known.state is None:
        # What came before is not known: an event that is sent again may be weeks old.
        return event.type != EventType.SUBSCRIPTION_CREATED
    return event.created <= known.state.taken_at


def decide(
    event: BillingEvent, known: Known, fetched: Fetched | None, config: BillingConfig
) -> Effects:
    """What this event changes; without a customer it concerns nobody and changes nothing."""
    if event.customer is None:
        return Effects()
    return Effects(
        state=_next_state(event, known, fetched, config),
        seen_version=known.version,
        entry=_entry(event, event.customer),
        link_user=event.user,
    )


def fact_of(event: BillingEvent) -> Fact:
    """What this event proves for ever."""
    return Fact(
        type=event.type,
        created=event.created,
        status=event.snapshot.status if event.snapshot else None,
        invoice=event.invoice.invoice_id if event.invoice else None,
    )


def past_due_since(facts: Collection[Fact], otherwise: float) -> float:
    """When the grace of a subscription that is past due began.

    The earliest failed attempt of an invoice that is still open; attempts from before the
    subscription was last seen healthy belong to invoices that were settled without an event
    of ours. Without any attempt: when it was first seen past due since then, or `otherwise`.
    """
    paid = {fact.invoice for fact in facts if fact.type == EventType.INVOICE_PAID}
    healthy_at = _latest(fact for fact in facts if fact.status in HEALTHY)
    failed = [
        fact.created
        for fact in facts
        if fact.type == EventType.INVOICE_PAYMENT_FAILED
        and fact.invoice not in paid
        and fact.created >= healthy_at
    ]
    if failed:
        return min(failed)
    paid_at = _latest(fact for fact in facts if fact.type == EventType.INVOICE_PAID)
    seen = [
        fact.created
        for fact in facts
        if fact.status == Status.PAST_DUE and fact.created >= max(healthy_at, paid_at)
    ]
    return min(seen, default=otherwise)


def _latest(facts: Iterable[Fact]) -> int:
    return max((fact.created for fact in facts), default=0)


def _next_state(
    event: BillingEvent, known: Known, fetched: Fetched | None, config: BillingConfig
) -> SubscriptionState | None:
    if event.subscription is None or event.customer is None:
        return None
    state = known.state
    if state is not None and state.is_terminal:
        return replace(state, version=state.version + 1)
    snapshot = fetched.snapshot if fetched else event.snapshot
    if snapshot is None:
        return None
    seen = [event.created, int(fetched.at) if fetched else 0, state.taken_at if state else 0]
    taken = SubscriptionState(
        subscription_id=event.subscription,
        customer=state.customer if state else event.customer,  # it never goes to another one
        status=snapshot.status,
        tier=_tier_of(snapshot.prices, config),
        price=_price_of(snapshot.prices, config),
        current_period_end=snapshot.current_period_end,
        cancel_at_period_end=snapshot.cancel_at_period_end,
        taken_at=max(seen),
        version=known.version + 1,
    )
    if snapshot.status != Status.PAST_DUE:
        return taken
    return _with_grace(taken, event, known, fetched, config)


def _with_grace(
    taken: SubscriptionState,
    event: BillingEvent,
    known: Known,
    fetched: Fetched | None,
    config: BillingConfig,
) -> SubscriptionState:
    before = known.state.past_due_since if known.state else None
    otherwise = before or (fetched.at if fetched else event.created)
    since = past_due_since([*known.facts, fact_of(event)], otherwise)
    return replace(taken, past_due_since=since, grace_ends=since + config.grace_s)


def _tier_of(prices: Sequence[str], config: BillingConfig) -> str | None:
    tiers = [config.prices[price] for price in prices if price in config.prices]
    return best_tier(tiers) if tiers else None


def _price_of(prices: Sequence[str], config: BillingConfig) -> str | None:
    """The price that the tier comes from; else the first one."""
    tier = _tier_of(prices, config)
    sold = [price for price in prices if tier is not None and config.prices.get(price) == tier]
    return next(iter([*sold, *prices]), None)


def _entry(event: BillingEvent, customer: str) -> LedgerEntry:
    invoice = event.invoice
    return LedgerEntry(
        event=event.event_id,
        customer=customer,
        invoice=invoice.invoice_id if invoice else None,
        kind=event.type,
        amount=invoice.amount_paid if invoice else 0,
        currency=invoice.currency if invoice else None,
        created=event.created,
    )
