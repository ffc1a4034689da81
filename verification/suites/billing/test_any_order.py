"""The same events in any order, however often, end in the same entitlement."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from verification.contract import promises
from verification.contract.billing import TERMINAL_STATUSES
from verification.harness import billing, stripe_events, stripe_objects
from verification.harness import capabilities as can
from verification.harness.claims import claim

if TYPE_CHECKING:
    from verification.harness.stripe_events import StripeEvent
    from verification.harness.stripe_objects import Subscription
    from verification.harness.target import Target
    from verification.harness.users import User

NEEDS = [can.STRIPE_SECRET, can.USERS, can.SCRIPT]
PRO = "pro"


def lifecycle_that_ends(user: User, began: int) -> tuple[Subscription, list[StripeEvent]]:
    """Subscribed, paid, behind, cancelled; and the subscription as Stripe has it at the end."""
    live = stripe_objects.subscription(user, plan=PRO, created=began)
    behind = replace(live, status="past_due")
    over = replace(live, status="canceled", canceled_at=began + 30, ended_at=began + 30)
    return over, [
        stripe_events.subscription_created(live, created=began),
        stripe_events.invoice_paid(
            user, invoice=stripe_objects.invoice(user, of=live, created=began), created=began
        ),
        stripe_events.subscription_updated(behind, was=live, created=began + 20),
        stripe_events.subscription_deleted(over, created=began + 30),
    ]


def lifecycle_that_recovers(user: User, began: int) -> tuple[Subscription, list[StripeEvent]]:
    """Subscribed to basic, behind, and in the same second paid and raised to pro."""
    basic = stripe_objects.subscription(user, plan="basic", created=began)
    behind = replace(basic, status="past_due")
    pro = stripe_objects.subscription(user, plan=PRO, created=began)
    return pro, [
        stripe_events.subscription_created(basic, created=began),
        stripe_events.subscription_updated(behind, was=basic, created=began + 10),
        stripe_events.subscription_updated(pro, was=behind, created=began + 10),
        stripe_events.invoice_paid(
            user,
            invoice=stripe_objects.invoice(user, of=pro, created=began + 10),
            created=began + 10,
        ),
    ]


@claim(
    "billing.order.any-permutation",
    proves=[
        promises.ANY_ORDER,
        promises.SUBSCRIPTION_UPDATED,
        promises.SUBSCRIPTION_DELETED,
        promises.LEDGER_TELLS,
    ],
    needs=NEEDS,
)
def test_every_order_of_two_lifecycles_ends_alike(target: Target) -> None:
    began = int(time.time()) - 3600
    ends: dict[str, set[tuple[str, str]]] = {"ends": set(), "recovers": set()}
    booked_otherwise: list[tuple[int, ...]] = []

    for make, name in ((lifecycle_that_ends, "ends"), (lifecycle_that_recovers, "recovers")):
        for order in itertools.permutations(range(4)):
            user = target.new_customer()
            final, events = make(user, began)
            target.stripe.put(subscription=final)
            for index in (*order, order[0]):
                assert billing.deliver(target, events[index]).status == 200
            said = billing.subscription(target, user)
            ends[name].add((said["tier"], str(said["status"])))
            rows = [row["event"] for row in billing.read_ledger(target, user)]
            if sorted(rows) != sorted(event.id for event in events):
                booked_otherwise.append(order)

    assert booked_otherwise == []
    assert ends == {"ends": {("free", "canceled")}, "recovers": {("pro", "active")}}


@claim(
    "billing.order.late-invoice-revives-nothing",
    proves=[promises.SUBSCRIPTION_DELETED, promises.ANY_ORDER],
    needs=NEEDS,
)
def test_a_late_paid_invoice_does_not_revive_a_cancelled_subscription(target: Target) -> None:
    user, began = target.new_customer(), int(time.time()) - 600
    over, events = lifecycle_that_ends(user, began)
    target.stripe.put(subscription=over)

    assert billing.deliver(target, events[3]).status == 200
    late = replace(stripe_objects.invoice(user, plan=PRO), created=began + 500)
    assert billing.deliver(target, stripe_events.invoice_paid(user, invoice=late)).status == 200

    said = billing.subscription(target, user)
    assert (said["tier"], said["entitled"]) == ("free", False)


@claim(
    "billing.order.same-second",
    proves=[promises.SUBSCRIPTION_UPDATED, promises.ANY_ORDER],
    needs=NEEDS,
)
def test_two_changes_of_one_second_end_as_stripe_has_it(target: Target) -> None:
    user, now = target.new_customer(), int(time.time())
    behind = stripe_objects.subscription(user, plan=PRO, created=now, status="past_due")
    active = replace(behind, status="active")
    target.stripe.put(subscription=active)

    first = stripe_events.subscription_updated(active, was=behind, created=now)
    second = stripe_events.subscription_updated(behind, was=active, created=now)
    answers = [billing.deliver(target, event) for event in (first, second)]

    said = billing.subscription(target, user)
    assert [answer.status for answer in answers] == [200, 200]
    assert (said["tier"], said["status"]) == ("pro", "active")


@claim(
    "billing.order.terminal-sticks",
    proves=[promises.SUBSCRIPTION_DELETED, promises.ANY_ORDER],
    needs=NEEDS,
)
def test_what_stripe_never_leaves_is_left_by_no_event(target: Target) -> None:
    began, ends = int(time.time()) - 600, {}

    for status in TERMINAL_STATUSES:
        user = target.new_customer()
        live = stripe_objects.subscription(user, plan=PRO, created=began)
        over = replace(live, status=status)
        target.stripe.put(subscription=over)
        events = [
            stripe_events.subscription_created(live, created=began),
            stripe_events.subscription_updated(over, was=live, created=began + 10),
            # Its time is a later one, and still it tells of before.
            stripe_events.subscription_updated(live, was=over, created=began + 20),
        ]
        assert [billing.deliver(target, event).status for event in events] == [200] * 3
        said = billing.subscription(target, user)
        ends[status] = (said["tier"], said["status"])

    assert ends == {status: ("free", status) for status in TERMINAL_STATUSES}
