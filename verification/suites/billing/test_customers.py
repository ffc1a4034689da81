"""A customer's whole story: tied to a user, subscribed twice, paused, behind again."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from verification.contract import http, promises
from verification.contract.tiers import TIERS
from verification.harness import billing, stripe_events, stripe_objects
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.suites.billing.test_entitlement import NEEDS, limit_told, subscribe
from verification.suites.operators.console import Console

if TYPE_CHECKING:
    from verification.harness.stripe_events import StripeEvent
    from verification.harness.target import Target

DAY_S = 86_400


def deliver_all(target: Target, *events: StripeEvent) -> None:
    """Deliver events one after the other; each is taken."""
    assert [billing.deliver(target, event).status for event in events] == [200] * len(events)


@claim("billing.customer.by-checkout", proves=[promises.CUSTOMERS_USER], needs=NEEDS)
def test_a_checkout_ties_its_customer_to_the_user_who_began_it(target: Target) -> None:
    user, other = target.new_user(), target.new_user()
    customer = f"cus_{target.name('checkout')}"
    of = stripe_objects.subscription(customer, plan="pro")
    target.stripe.put(subscription=of)

    deliver_all(target, stripe_events.checkout_completed(customer, reference=user.id, of=of))

    tiers = [billing.subscription(target, each)["tier"] for each in (user, other)]
    assert tiers == ["pro", "free"]
    assert limit_told(target.chat(user, "hello").answer) == TIERS["pro"].requests


@claim(
    "billing.customer.told-before-the-user",
    proves=[promises.CUSTOMERS_USER, promises.TIER_FOLLOWS],
    needs=[*NEEDS, can.ADMIN, can.SHELL],
)
def test_what_was_told_of_a_customer_counts_when_they_are_tied_to_a_user(target: Target) -> None:
    console, customers = Console.of(target), [f"cus_{target.name('early')}" for _ in range(2)]
    for customer in customers:
        of = stripe_objects.subscription(customer, plan="pro")
        target.stripe.put(subscription=of)
        deliver_all(target, stripe_events.subscription_created(of))

    command = ["keys", "create", "--user", target.name(), "--stripe-customer", customers[0]]
    made = [
        target.shell([*command, "--json"]).json(),
        console.make(target.name(), stripe_customer=customers[1]),
    ]
    told = [
        limit_told(target.http.post(http.CHAT.path, json={"message": "hello"}, key=each["key"]))
        for each in made
    ]

    for each in made:
        console.call(http.ADMIN_USER_DELETE, each["user"])
    assert told == [TIERS["pro"].requests] * 2


@claim("billing.entitlement.best-of-several", proves=[promises.BEST_SUBSCRIPTION], needs=NEEDS)
def test_of_several_subscriptions_the_best_live_one_counts(target: Target) -> None:
    user, began = target.new_customer(), int(time.time()) - DAY_S
    pro = subscribe(target, user, "pro", created=began)
    basic = stripe_objects.subscription(
        user, plan="basic", created=began + 60, id=f"sub_{target.name('second')}"
    )
    target.stripe.put(subscription=basic)
    deliver_all(target, stripe_events.subscription_created(basic, created=began + 60))
    both = billing.subscription(target, user)["tier"]

    over = replace(pro, status="canceled", canceled_at=began + 120, ended_at=began + 120)
    target.stripe.put(subscription=over)
    deliver_all(target, stripe_events.subscription_deleted(over, created=began + 120))

    assert (both, billing.subscription(target, user)["tier"]) == ("pro", "basic")


@claim("billing.entitlement.paused", proves=[promises.ENTITLED_BY_LIST], needs=NEEDS)
def test_a_pause_takes_the_tier_away_and_its_end_gives_it_back(target: Target) -> None:
    user, began = target.new_customer(), int(time.time()) - DAY_S
    of = subscribe(target, user, "pro", created=began)
    held = replace(of, status="paused")

    target.stripe.put(subscription=held)
    deliver_all(target, stripe_events.subscription_paused(held, created=began + 60))
    paused = billing.subscription(target, user)
    target.stripe.put(subscription=of)
    deliver_all(target, stripe_events.subscription_resumed(of, created=began + 120))
    resumed = billing.subscription(target, user)

    assert [(one["tier"], one["entitled"]) for one in (paused, resumed)] == [
        ("free", False),
        ("pro", True),
    ]


@claim(
    "billing.entitlement.grace-of-each-invoice",
    proves=[promises.INVOICE_PAYMENT_FAILED],
    needs=NEEDS,
)
def test_a_payment_missed_again_has_a_grace_of_its_own(target: Target) -> None:
    user, now = target.new_customer(), int(time.time())
    began, relapse = now - 40 * DAY_S, now - 60
    of = subscribe(target, user, "pro", created=began)
    behind = replace(of, status="past_due")
    first = stripe_objects.invoice(user, of=of, created=began)
    missed = replace(first, status="open")
    second = stripe_objects.invoice(user, of=behind, status="open", created=relapse)

    target.stripe.put(invoice=first)
    deliver_all(
        target,
        stripe_events.invoice_payment_failed(user, invoice=missed, created=began + 60),
        stripe_events.invoice_paid(user, invoice=first, created=began + DAY_S),
    )
    target.stripe.put(subscription=behind, invoice=second)
    deliver_all(target, stripe_events.invoice_payment_failed(user, invoice=second, created=relapse))

    said = billing.subscription(target, user)
    assert (said["tier"], said["status"], said["entitled"]) == ("pro", "past_due", True)
