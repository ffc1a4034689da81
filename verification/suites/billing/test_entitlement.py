"""What a customer may use: what Stripe's newest word entitles to, on every worker, and no more."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from verification.contract import http, promises
from verification.contract.billing import ENTITLED_STATUSES
from verification.contract.bounds import bounds
from verification.contract.tiers import TIERS
from verification.harness import billing, stripe_events, stripe_objects
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.limit_fields import limit_fields
from verification.harness.stripe_objects import API_VERSIONS
from verification.harness.waiting import eventually
from verification.suites.billing.scales import EVENTS, GRACE_S, SMALL
from verification.verdict import UnknownVerdict

if TYPE_CHECKING:
    from verification.harness.answer import Answer
    from verification.harness.target import Target
    from verification.harness.users import User

NEEDS = [can.STRIPE_SECRET, can.USERS, can.SCRIPT]
PAID = ("basic", "pro", "enterprise")
PRICES = {
    "basic": promises.PRICE_BASIC,
    "pro": promises.PRICE_PRO,
    "enterprise": promises.PRICE_ENTERPRISE,
}
STATUSES = (
    "active", "trialing", "past_due", "incomplete", "incomplete_expired", "unpaid", "paused",
    "canceled", "a_status_of_tomorrow",
)  # fmt: skip
HOUR_S = 3600


def subscribe(
    target: Target, user: User, plan: str, **fields: object
) -> stripe_objects.Subscription:
    """A subscription that Stripe has and that was told."""
    of = replace(stripe_objects.subscription(user, plan=plan), **fields)  # type: ignore[arg-type]  # its fields
    target.stripe.put(subscription=of)
    assert billing.deliver(target, stripe_events.subscription_created(of)).status == 200
    return of


@claim(
    "billing.entitlement.prices",
    proves=[*PRICES.values(), promises.INVOICE_PAID],
    needs=NEEDS,
)
def test_each_price_entitles_to_its_tier_and_an_unknown_one_to_nothing(target: Target) -> None:
    users = {plan: target.new_customer() for plan in PAID}
    stranger = target.new_customer()

    for plan, user in users.items():
        subscribe(target, user, plan)
    subscribe(target, stranger, "pro", price="price_of_another_product")

    tiers = {plan: billing.subscription(target, user)["tier"] for plan, user in users.items()}
    assert tiers == {plan: plan for plan in PAID}
    assert billing.subscription(target, stranger)["tier"] == "free"


@claim("billing.entitlement.one-item-of-several", proves=[*PRICES.values()], needs=NEEDS)
@pytest.mark.parametrize("place", [0, 1])
def test_a_price_entitles_wherever_it_stands_among_items(place: int, target: Target) -> None:
    user = target.new_customer()
    told = stripe_objects.subscription(user, plan="pro").rendered()
    item = told["items"]["data"][0]
    extra = {"price": {**item["price"], "id": "price_seats"}, "plan": {"id": "price_seats"}}
    told["items"]["data"].insert(place, {**item, **extra, "id": f"{item['id']}_extra"})
    target.stripe.put(subscription=told)

    answer = billing.deliver(
        target, stripe_events.event("customer.subscription.created", told, user=user.id)
    )

    assert (answer.status, billing.subscription(target, user)["tier"]) == (200, "pro")


@claim(
    "billing.ledger.one-off",
    proves=[promises.LEDGER_TELLS, promises.INVOICE_PAID],
    needs=NEEDS,
)
def test_an_invoice_of_no_subscription_is_booked_and_entitles_to_nothing(target: Target) -> None:
    users = {"pro": target.new_customer(), "free": target.new_customer()}
    subscribe(target, users["pro"], "pro")
    invoices = {
        tier: stripe_objects.invoice(user, subscription=None, billing_reason="manual")
        for tier, user in users.items()
    }

    statuses = [
        billing.deliver(target, stripe_events.invoice_paid(user, invoice=invoices[tier])).status
        for tier, user in users.items()
    ]
    rows = {tier: billing.read_ledger(target, user) for tier, user in users.items()}
    tiers = {tier: billing.subscription(target, user)["tier"] for tier, user in users.items()}

    booked = {tier: [row["amount"] for row in of if row["invoice"]] for tier, of in rows.items()}
    assert statuses == [200, 200]
    assert booked == {tier: [one.amount] for tier, one in invoices.items()}
    assert tiers == {tier: tier for tier in users}


@claim("billing.ledger.rows", proves=[promises.LEDGER_TELLS], needs=NEEDS)
def test_a_row_of_the_ledger_tells_what_its_event_was_about(target: Target) -> None:
    user = target.new_customer()
    of = subscribe(target, user, "pro")
    paid = stripe_objects.invoice(user, of=of)
    missed = stripe_objects.invoice(user, of=of, status="open", amount=of.amount + 7)
    events = [
        stripe_events.invoice_paid(user, invoice=paid, created=of.created + 60),
        stripe_events.invoice_payment_failed(user, invoice=missed, created=of.created + 120),
    ]
    for one in (paid, missed):
        target.stripe.put(invoice=one)

    statuses = [billing.deliver(target, event).status for event in events]
    rows = {row["event"]: row for row in billing.read_ledger(target, user)}

    told = ("kind", "invoice", "amount", "currency", "created")
    assert statuses == [200, 200]
    assert [tuple(rows[event.id][name] for name in told) for event in events] == [
        ("invoice.paid", paid.id, paid.amount, "usd", of.created + 60),
        # No money moved.
        ("invoice.payment_failed", missed.id, 0, "usd", of.created + 120),
    ]


@claim("billing.entitlement.by-list", proves=[promises.ENTITLED_BY_LIST], needs=NEEDS)
def test_only_listed_states_entitle(target: Target) -> None:
    users = {status: target.new_customer() for status in STATUSES}

    for status, user in users.items():
        subscribe(target, user, "pro", status=status)
    said = {status: billing.subscription(target, user) for status, user in users.items()}

    entitled = {status for status, one in said.items() if one["entitled"]}
    assert entitled == set(ENTITLED_STATUSES)
    assert {one["tier"] for status, one in said.items() if status not in entitled} == {"free"}


@claim("billing.entitlement.cancel-later", proves=[promises.SUBSCRIPTION_UPDATED], needs=NEEDS)
def test_a_scheduled_cancellation_keeps_access_until_it_is_due(target: Target) -> None:
    user = target.new_customer()
    of = subscribe(target, user, "pro")
    ending = replace(of, cancel_at_period_end=True, cancel_at=of.period_end)
    target.stripe.put(subscription=ending)

    billing.deliver(
        target, stripe_events.subscription_updated(ending, was=of, created=int(time.time()) + 1)
    )

    said = billing.subscription(target, user)
    assert (said["tier"], said["entitled"]) == ("pro", True)


@claim(
    "billing.entitlement.grace",
    proves=[promises.INVOICE_PAYMENT_FAILED, promises.TIER_FOLLOWS],
    needs=[*NEEDS, can.SHRINK],
    env=SMALL,
)
def test_grace_begins_at_the_first_failed_attempt_and_ends(target: Target) -> None:
    user = target.new_customer()
    of = subscribe(target, user, "pro")
    behind, began = replace(of, status="past_due"), int(time.time())
    open_invoice = stripe_objects.invoice(user, of=behind, status="open", created=began)
    target.stripe.put(subscription=behind, invoice=open_invoice)

    # Counted from a later attempt, grace would last for hours.
    for attempt in (1, 2, 3):
        failed = stripe_events.invoice_payment_failed(
            user, invoice=open_invoice, attempt=attempt, created=began + (attempt - 1) * HOUR_S
        )
        assert billing.deliver(target, failed).status == 200
    inside = billing.subscription(target, user)
    read_at = time.time()
    after = eventually(
        lambda: billing.subscription(target, user),
        until=lambda said: not said["entitled"],
        within_s=GRACE_S + 5.0,
        claim="grace ends",
    )
    eventually_limited(target, user, TIERS["free"].requests)

    if read_at > began + GRACE_S:
        raise UnknownVerdict(f"read {read_at - began:.1f} s after grace of {GRACE_S} s began")
    assert (inside["entitled"], inside["tier"]) == (True, "pro")
    assert (after["tier"], after["status"]) == ("free", "past_due")


@claim(
    "billing.entitlement.api-versions",
    proves=[promises.SUBSCRIPTION_UPDATED, promises.INVOICE_PAID],
    needs=NEEDS,
)
@pytest.mark.parametrize("kind", ["subscription", "invoice"])
def test_every_api_version_from_acacia_to_endive_says_the_same(kind: str, target: Target) -> None:
    users = {version: target.new_customer() for version in API_VERSIONS}
    said = {}

    for version, user in users.items():
        of = stripe_objects.subscription(user, plan="pro")
        target.stripe.put(subscription=of)
        event = (
            stripe_events.subscription_created(of, api_version=version)
            if kind == "subscription"
            else stripe_events.invoice_paid(
                user, invoice=stripe_objects.invoice(user, of=of), api_version=version
            )
        )
        assert billing.deliver(target, event).status == 200
        said[version] = billing.subscription(target, user)

    assert {version: one["tier"] for version, one in said.items()} == dict.fromkeys(users, "pro")


@claim(
    "billing.entitlement.limits-follow",
    proves=[promises.TIER_FOLLOWS],
    needs=[*NEEDS, can.WORKERS],
    workers=2,
)
def test_a_new_tier_and_its_end_reach_the_limits_on_every_worker(target: Target) -> None:
    user = target.new_customer()
    of = subscribe(target, user, "enterprise")

    raised = eventually_limited(target, user, TIERS["enterprise"].requests)
    over = replace(of, status="canceled", canceled_at=of.created + 1, ended_at=of.created + 1)
    target.stripe.put(subscription=over)
    billing.deliver(target, stripe_events.subscription_deleted(over, created=of.created + 1))
    lowered = eventually_limited(target, user, TIERS["free"].requests)

    assert raised | lowered == {TIERS["enterprise"].requests, TIERS["free"].requests}


def eventually_limited(target: Target, user: User, requests: int) -> set[int | None]:
    """The limits that all workers tell, once it is that one, within the bound for a new tier."""

    def told() -> set[int | None]:
        seen = set()
        for worker in target.reach_all_workers():
            with target.at_worker(worker) as way:
                seen.add(limit_told(target.chat(user, "hello", http=way).answer))
        return seen

    return eventually(
        told,
        until=lambda seen: seen == {requests},
        within_s=bounds().entitlement_within_s + 3.0,
        claim=f"every worker limits to {requests} requests",
        every_s=0.2,  # who waits must not use up the limit
    )


def limit_told(answer: Answer) -> int | None:
    """The requests per window that an answer says its user has, None when it says nothing."""
    return limit_fields(answer).quota.get("requests")


@claim("billing.nobody.null-customer", proves=[promises.OWN_BILLING_ONLY], needs=NEEDS)
def test_an_event_of_nobody_or_of_a_stranger_changes_nobody(target: Target) -> None:
    plain, customer = target.new_user(), target.new_customer()
    of = stripe_objects.subscription("cus_of_a_stranger", plan="enterprise")
    target.stripe.put(subscription=of)
    orphan = {**stripe_objects.invoice("cus_of_a_stranger", of=of).rendered(), "customer": None}

    answers = [
        billing.deliver(target, stripe_events.event("invoice.paid", orphan)),
        billing.deliver(target, stripe_events.subscription_created(of)),
    ]

    said = [billing.subscription(target, user)["tier"] for user in (plain, customer)]
    limits = [limit_told(target.chat(user, "hello").answer) for user in (plain, customer)]
    assert [answer.status for answer in answers if answer.status >= 500] == []
    assert said == ["free", "free"]
    assert limits == [TIERS["free"].requests] * 2
    assert billing.read_ledger(target, plain) + billing.read_ledger(target, customer) == []


@claim("billing.nobody.own-only", proves=[promises.OWN_BILLING_ONLY], needs=NEEDS)
def test_a_caller_sees_their_own_subscription_and_ledger_only(target: Target) -> None:
    owner, other = target.new_customer(), target.new_customer()
    subscribe(target, owner, "pro")
    subscribe(target, other, "basic")
    ask = {"user": owner.id, "customer": str(owner.customer), "user_id": owner.id}

    ledgers = [billing.read_ledger(target, user) for user in (owner, other)]
    asked = target.http.get(http.LEDGER.path, key=other.key, params=ask)
    said = target.http.get(http.SUBSCRIPTION.path, key=other.key, params=ask)

    events = [{row["event"] for row in rows} for rows in ledgers]
    assert [len(rows) for rows in ledgers] == [1, 1]
    assert events[0] & events[1] == set()
    assert [event for event in events[0] if event in asked.text + said.text] == []
    assert {asked.status, said.status} <= {200, 422}


@claim(
    "billing.events.without-effect",
    proves=[promises.ACKNOWLEDGED_WHEN_DONE, promises.WEBHOOKS_SHOWN],
    needs=[*NEEDS, can.METRICS],
)
def test_unknown_types_and_the_wrong_mode_are_acknowledged_and_change_nothing(
    target: Target,
) -> None:
    user = target.new_customer()
    of = stripe_objects.subscription(user, plan="pro")
    target.stripe.put(subscription=of)
    before = target.settled_metrics().sum(EVENTS, outcome="wrong_livemode")

    unknown = billing.deliver(target, stripe_events.event("price.updated", of, user=user.id))
    live = billing.deliver(target, stripe_events.subscription_created(of, livemode=True))

    assert (unknown.status, live.status) == (200, 200)
    assert billing.subscription(target, user)["tier"] == "free"
    assert billing.read_ledger(target, user) == []
    assert target.settled_metrics().sum(EVENTS, outcome="wrong_livemode") == before + 1


@claim("billing.stripe.called-with-its-key", proves=[promises.STRIPE_KEY], needs=NEEDS)
def test_stripe_is_called_with_its_own_key_and_no_other(target: Target) -> None:
    user = target.new_customer()
    of = stripe_objects.subscription(user)
    target.stripe.put(subscription=of)

    answer = billing.deliver(
        target, stripe_events.invoice_paid(user, invoice=stripe_objects.invoice(user, of=of))
    )

    calls = target.stripe.journal()
    assert (answer.status, {call.key for call in calls}) == (200, {target.stripe.key})
