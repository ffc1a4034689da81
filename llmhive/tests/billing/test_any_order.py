"""Any order and any duplication of one lifecycle's events ends in the same entitlement."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from llmhive.app.billing.model import (
    DAY_S,
    BillingEvent,
    Known,
    Snapshot,
    SubscriptionState,
    entitled_tier,
)
from llmhive.app.billing.payloads import parse_event
from llmhive.app.billing.transitions import Fetched, decide, fact_of, needs_object
from llmhive.tests.billing.stripe_says import CONFIG, delivery, invoice, subscription

BEGAN = 1_790_000_000
SEQUENCE = ("incomplete", "active", "trialing", "past_due", "unpaid", "paused", "canceled")


def events_of(statuses: list[str], gaps: list[int]) -> list[BillingEvent]:
    """A lifecycle: created, each change of status some seconds after the one before."""
    at, found = BEGAN, []
    for number, status in enumerate(statuses):
        kind = "updated" if number else "created"
        kind = "deleted" if status == "canceled" else kind
        told = subscription(status)
        found.append(delivery(f"customer.subscription.{kind}", told, created=at))
        if status == "past_due":
            failed = invoice(f"in_{number}")
            found.append(delivery("invoice.payment_failed", failed, created=at))
        at += gaps[number]
    found.append(delivery("invoice.paid", invoice("in_paid"), created=BEGAN))
    return [parse_event(body) for body in found]


def end_of(
    events: list[BillingEvent], final: Snapshot, now: float
) -> tuple[str, str | None, float | None]:
    """Status, tier and end of grace after these deliveries, Stripe answering with `final`."""
    known, done = Known(), set()
    for event in events:
        if event.event_id in done:
            continue
        done.add(event.event_id)
        fetched = Fetched(final, now) if needs_object(event, known) else None
        effects = decide(event, known, fetched, CONFIG)
        state: SubscriptionState | None = effects.state or known.state
        known = Known(state, (*known.facts, fact_of(event)))
    assert known.state is not None
    tier = entitled_tier([known.state], now)
    return known.state.status, tier, known.state.grace_ends


@given(
    st.lists(st.sampled_from(SEQUENCE[:-1]), min_size=1, max_size=4),
    st.integers(0, 1),
    st.lists(st.integers(0, 3), min_size=5, max_size=5),
    st.randoms(use_true_random=False),
)
def test_every_order_ends_alike(
    statuses: list[str], deletions: int, gaps: list[int], chance: object
) -> None:
    statuses = [*statuses, *(["canceled"] if deletions else [])]
    events = events_of(statuses, gaps)
    final = Snapshot("sub_1", "cus_1", statuses[-1], ("price_p",), 1_800_000_000)
    now = BEGAN + 100.0
    shuffled = [*events, *events]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random

    assert end_of(shuffled, final, now)[:2] == end_of(events, final, now)[:2]


@given(st.permutations(range(3)))
def test_grace_begins_at_the_earliest_failed_attempt_in_any_order(order: list[int]) -> None:
    failed = [
        parse_event(delivery("invoice.payment_failed", invoice("in_9"), created=BEGAN + 50 * n))
        for n in range(3)
    ]
    created = parse_event(
        delivery("customer.subscription.created", subscription("active"), created=BEGAN - 900)
    )
    final = Snapshot("sub_1", "cus_1", "past_due", ("price_p",), None)

    _, tier, grace_ends = end_of([created, *(failed[n] for n in order)], final, BEGAN + 200.0)

    assert (tier, grace_ends) == ("pro", BEGAN + 7 * DAY_S)


def test_a_paid_invoice_ends_the_grace_it_began() -> None:
    failed = parse_event(delivery("invoice.payment_failed", invoice("in_1"), created=BEGAN))
    paid = parse_event(delivery("invoice.paid", invoice("in_1"), created=BEGAN + 10))
    again = parse_event(delivery("invoice.payment_failed", invoice("in_2"), created=BEGAN + 500))
    final = Snapshot("sub_1", "cus_1", "past_due", ("price_p",), None)

    ends = {
        end_of([*order], final, BEGAN + 600.0)[2]
        for order in ((failed, paid, again), (again, failed, paid))
    }

    assert ends == {BEGAN + 500 + 7 * DAY_S}


def test_an_event_of_nobody_changes_nothing() -> None:
    event = parse_event(delivery("invoice.paid", {**invoice(), "customer": None}))

    assert not needs_object(event, Known())
    assert decide(event, Known(), None, CONFIG).entry is None


def test_a_one_off_invoice_is_entered_and_touches_no_subscription() -> None:
    event = parse_event(delivery("invoice.paid", invoice(subscription=None)))

    effects = decide(event, Known(), None, CONFIG)

    assert effects.state is None
    assert effects.entry is not None
    assert (effects.entry.invoice, effects.entry.amount) == ("in_1", 2000)
    assert orjson.dumps(effects.entry.currency) == b'"usd"'
