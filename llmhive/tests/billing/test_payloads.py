"""Stripe's payloads in every shape become the same values; what is no event is refused."""

from __future__ import annotations

import json

import pytest

from llmhive.app.billing.model import DeliveryRejectedError
from llmhive.app.billing.payloads import parse_event, read_invoice, read_subscription
from llmhive.tests.billing.stripe_says import delivery, invoice, subscription

MALFORMED = {
    "no JSON": b"{",
    "a list": b"[]",
    "no id": delivery("invoice.paid", invoice(), id=None),
    "an id that is too long": delivery("invoice.paid", invoice(), id="e" * 256),
    "an id with a line end": delivery("invoice.paid", invoice(), id="evt\n1"),
    "no type": delivery("", invoice()),
    "no time": delivery("invoice.paid", invoice(), created="now"),
    "a time beyond all times": delivery("invoice.paid", invoice(), created=10**12),
    "no object": delivery("invoice.paid", None),
    "an invoice without an id": delivery("invoice.paid", {"customer": "cus_1"}),
    "a subscription without a status": delivery("customer.subscription.updated", {"id": "sub_1"}),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_event_is_refused(case: str) -> None:
    with pytest.raises(DeliveryRejectedError) as refusal:
        parse_event(MALFORMED[case])

    assert (refusal.value.code, refusal.value.http_status) == ("malformed_json", 400)


def test_an_event_of_a_foreign_account_or_type_needs_nothing_else() -> None:
    foreign = parse_event(delivery("invoice.paid", None, account="acct_1"))
    unknown = parse_event(delivery("price.updated", None))

    assert (foreign.account, foreign.is_handled, foreign.invoice) == ("acct_1", True, None)
    assert (unknown.is_handled, unknown.told_type) == (False, "other")


@pytest.mark.parametrize(
    "shape",
    [
        {"parent": {"subscription_details": {"subscription": "sub_1"}}},
        {"parent": {"subscription_details": {"subscription": {"id": "sub_1"}}}},
        {"parent": None, "subscription": "sub_1"},
        {"parent": None, "subscription": {"id": "sub_1"}},
    ],
    ids=["basil", "basil expanded", "acacia", "acacia expanded"],
)
def test_an_invoice_names_its_subscription_in_every_version(shape: dict[str, object]) -> None:
    read = read_invoice({**invoice(), **shape})

    assert read is not None
    assert (read.subscription, read.is_of_subscription) == ("sub_1", True)


@pytest.mark.parametrize(
    "shape",
    [
        {"items": {"data": [{"price": {"id": "price_p"}, "current_period_end": 5}]}},
        {"items": {"data": [{"price": "price_p"}]}, "current_period_end": 5},
        {"items": {"data": [{"plan": {"id": "price_p"}}]}, "current_period_end": 5},
        {"items": None, "plan": {"id": "price_p"}, "current_period_end": 5},
    ],
    ids=["basil", "acacia", "with a plan", "very old"],
)
def test_a_subscription_is_read_in_every_version(shape: dict[str, object]) -> None:
    read = read_subscription({**subscription(), **shape})

    assert read is not None
    assert (read.prices, read.current_period_end) == (("price_p",), 5)


def test_a_cancellation_at_the_end_of_the_period_is_seen_either_way() -> None:
    by_flag = read_subscription(subscription(cancel_at_period_end=True))
    by_time = read_subscription(subscription(cancel_at=1_800_000_000))
    neither = read_subscription(subscription(cancel_at=1_900_000_000))

    assert [one.cancel_at_period_end for one in (by_flag, by_time, neither) if one] == [
        True,
        True,
        False,
    ]


def test_a_deleted_subscription_is_canceled_whatever_it_says() -> None:
    event = parse_event(delivery("customer.subscription.deleted", subscription("active")))

    assert event.snapshot is not None
    assert event.snapshot.status == "canceled"


def test_a_checkout_ties_the_user_who_paid() -> None:
    told = {"customer": "cus_1", "subscription": "sub_1", "client_reference_id": "ann"}

    event = parse_event(delivery("checkout.session.completed", told))

    assert (event.user, event.customer, event.subscription) == ("ann", "cus_1", "sub_1")


def test_amounts_and_currencies_that_are_none_are_left_out() -> None:
    read = read_invoice(json.loads('{"id": "in_1", "amount_paid": -5, "currency": "dollars"}'))

    assert read is not None
    assert (read.amount_paid, read.currency, read.is_of_subscription) == (0, None, False)
