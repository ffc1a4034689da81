"""Stripe's wire: what is asked, what is made of each answer, and the one deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import respx

from llmhive.app.adapters.stripe_api import ANSWER_BYTES_MAX, API_VERSION, StripeApi
from llmhive.app.billing.model import StripeError
from llmhive.tests.billing.stripe_says import subscription

BASE, KEY = "http://stripe.test", "sk_test_canary_of_this_test"


@pytest.fixture
def router() -> respx.Router:
    return respx.Router(assert_all_called=False)


@pytest.fixture
def stripe(router: respx.Router) -> StripeApi:
    transport = httpx.MockTransport(router.async_handler)
    return StripeApi(BASE, KEY, transport, timeout_s=5.0)


async def test_a_subscription_is_asked_for_by_id_with_key_and_version(
    router: respx.Router, stripe: StripeApi
) -> None:
    route = router.get(f"{BASE}/v1/subscriptions/sub_1").respond(json=subscription("trialing"))

    found = await stripe.subscription("sub_1")

    sent = route.calls.last.request.headers
    assert (found.status, found.customer) == ("trialing", "cus_1")
    assert (sent["authorization"], sent["stripe-version"]) == (f"Bearer {KEY}", API_VERSION)


async def test_an_id_stays_one_part_of_the_path(router: respx.Router, stripe: StripeApi) -> None:
    route = router.route().respond(json=subscription(number="a/../b?x"))

    await stripe.subscription("a/../b?x")

    assert route.calls.last.request.url.raw_path == b"/v1/subscriptions/a%2F..%2Fb%3Fx"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, json={"error": {"code": "resource_missing"}}),
        httpx.Response(500),
        httpx.Response(200, content=b"{"),
        httpx.Response(200, json=["sub_1"]),
        httpx.Response(200, json=subscription(number="sub_of_another")),
        httpx.Response(200, json={"id": "sub_1"}),
        httpx.Response(200, content=b" " * (ANSWER_BYTES_MAX + 1)),
    ],
    ids=["missing", "erring", "no JSON", "a list", "another one", "no status", "too long"],
)
async def test_any_other_answer_is_an_error_that_tells_no_secret(
    answer: httpx.Response, router: respx.Router, stripe: StripeApi
) -> None:
    router.route().mock(return_value=answer)

    with pytest.raises(StripeError) as error:
        await stripe.subscription("sub_1")

    assert error.value.http_status == 503
    assert KEY not in str(error.value)


async def test_a_connection_that_fails_is_an_error(router: respx.Router, stripe: StripeApi) -> None:
    router.route().mock(side_effect=httpx.ConnectError)

    with pytest.raises(StripeError, match="reached"):
        await stripe.subscription("sub_1")


async def test_the_deadline_bounds_headers_and_body_together(router: respx.Router) -> None:
    class Dripping(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

    router.route().mock(return_value=httpx.Response(200, stream=Dripping()))
    stripe = StripeApi(BASE, KEY, httpx.MockTransport(router.async_handler), timeout_s=0.01)

    with pytest.raises(StripeError, match="in time"):
        await stripe.subscription("sub_1")


async def test_without_a_key_nobody_is_asked(router: respx.Router) -> None:
    route = router.route().respond(json=subscription())
    stripe = StripeApi(BASE, "", httpx.MockTransport(router.async_handler), timeout_s=5.0)

    with pytest.raises(StripeError, match="no key"):
        await stripe.subscription("sub_1")

    assert route.call_count == 0
