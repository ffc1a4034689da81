"""Stripe's own library reads the simulated Stripe as it reads Stripe."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import stripe as library

from verification.harness.stripe_objects import invoice, subscription

if TYPE_CHECKING:
    from verification.harness.simulated import SimulatedStripe

BOUGHT = subscription("cus_1", created=1_700_000_000)
FAILURES = {
    401: library.AuthenticationError,
    403: library.PermissionError,
    404: library.InvalidRequestError,
    409: library.APIError,
    429: library.RateLimitError,
    500: library.APIError,
}


@pytest.fixture
def client(stripe: SimulatedStripe) -> library.StripeClient:
    """The library, aimed at the simulator, without retries."""
    return library.StripeClient(
        "sk_test_x", base_addresses={"api": stripe.control_url}, max_network_retries=0
    )


def test_a_subscription_and_an_invoice_are_read(
    stripe: SimulatedStripe, client: library.StripeClient
) -> None:
    billed = invoice("cus_1", of=BOUGHT)
    stripe.put(subscription=BOUGHT, invoice=billed)

    bought, paid = (
        client.v1.subscriptions.retrieve(BOUGHT.id),
        client.v1.invoices.retrieve(billed.id),
    )

    assert (bought.status, bought["items"].data[0].current_period_end) == (
        "active",
        BOUGHT.period_end,
    )
    assert paid.parent is not None
    assert paid.parent.subscription_details is not None
    assert paid.parent.subscription_details.subscription == BOUGHT.id


def test_pages_follow_each_other(stripe: SimulatedStripe, client: library.StripeClient) -> None:
    for number in range(5):
        stripe.put(subscription=replace(BOUGHT, id=f"sub_{number}", created=number))

    page = client.v1.subscriptions.list({"customer": "cus_1", "limit": 2})

    assert [one.id for one in page.auto_paging_iter()] == [f"sub_{n}" for n in range(4, -1, -1)]


@pytest.mark.parametrize(("status", "failure"), FAILURES.items())
def test_a_failure_is_the_librarys_own(
    stripe: SimulatedStripe,
    client: library.StripeClient,
    status: int,
    failure: type[library.StripeError],
) -> None:
    stripe.fail(status)

    with pytest.raises(failure) as failed:
        client.v1.subscriptions.retrieve(BOUGHT.id)

    assert failed.value.http_status == status


def test_a_missing_object_is_named(client: library.StripeClient) -> None:
    with pytest.raises(library.InvalidRequestError) as failed:
        client.v1.subscriptions.retrieve("sub_none")

    assert (failed.value.code, failed.value.param) == ("resource_missing", "id")
