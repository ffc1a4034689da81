"""Stripe's API: objects by id and by customer, in each version's shape, and its refusals."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from verification.harness.http_client import Http
from verification.harness.simulated import SimulatorError
from verification.harness.stripe_objects import (
    ACACIA,
    API_VERSIONS,
    BASIL,
    ENDIVE,
    MONTH_S,
    invoice,
    subscription,
)
from verification.selftest.simulators.callers import connected

if TYPE_CHECKING:
    from verification.harness.answer import Answer
    from verification.harness.simulated import SimulatedStripe

KEY = "sk_test_x"
BOUGHT = subscription("cus_1", created=1_700_000_000)


def fetch(
    stripe: SimulatedStripe, path: str, *, version: str | None = None, key: str | None = KEY
) -> Answer:
    """GET from Stripe."""
    headers = {"Stripe-Version": version} if version else {}
    return Http(stripe.control_url).get(path, headers=headers, key=key)


def test_an_object_is_found_under_its_id(stripe: SimulatedStripe) -> None:
    billed = invoice("cus_1", of=BOUGHT)
    stripe.put(subscription=BOUGHT, invoice=billed)

    found = [fetch(stripe, f"/v1/{one}") for one in (f"subscriptions/{BOUGHT.id}", "invoices/in_0")]

    assert found[0].json()["id"] == BOUGHT.id
    assert fetch(stripe, f"/v1/invoices/{billed.id}").json()["amount_paid"] == billed.amount
    assert found[1].json()["error"]["code"] == "resource_missing"


def test_an_object_that_is_put_again_replaces_the_first(stripe: SimulatedStripe) -> None:
    stripe.put(subscription=BOUGHT)
    stripe.put(subscription=replace(BOUGHT, status="past_due"))

    assert fetch(stripe, f"/v1/subscriptions/{BOUGHT.id}").json()["status"] == "past_due"


def test_a_removed_object_is_missing(stripe: SimulatedStripe) -> None:
    stripe.put(subscription=BOUGHT)
    stripe.remove(subscription=BOUGHT.id)

    answer = fetch(stripe, f"/v1/subscriptions/{BOUGHT.id}")

    error = answer.json()["error"]
    assert (answer.status, error["code"], error["param"]) == (404, "resource_missing", "id")
    assert error["message"] == f"No such subscription: '{BOUGHT.id}'"


@pytest.mark.parametrize("put_as", API_VERSIONS)
@pytest.mark.parametrize("asked_as", API_VERSIONS)
def test_an_object_has_the_shape_of_the_version_that_is_asked_for(
    stripe: SimulatedStripe, put_as: str, asked_as: str
) -> None:
    billed = invoice("cus_1", of=BOUGHT)
    stripe.put(subscription=BOUGHT.rendered(put_as), invoice=billed.rendered(put_as))

    bought = fetch(stripe, f"/v1/subscriptions/{BOUGHT.id}", version=asked_as)
    paid = fetch(stripe, f"/v1/invoices/{billed.id}", version=asked_as)

    assert places(bought.json(), paid.json()) == places(
        BOUGHT.rendered(asked_as), billed.rendered(asked_as)
    )
    assert bought.headers["stripe-version"] == asked_as


def places(bought: dict[str, Any], paid: dict[str, Any]) -> dict[str, Any]:
    """What stands in the places that moved."""
    return {
        "period": bought.get("current_period_end"),
        "item's period": bought["items"]["data"][0].get("current_period_end"),
        "subscription": paid.get("subscription"),
        "parent": paid.get("parent"),
        "paid": paid.get("paid"),
    }


def test_without_a_version_the_newest_shape_comes(stripe: SimulatedStripe) -> None:
    stripe.put(subscription=BOUGHT.rendered(ACACIA))

    found = fetch(stripe, f"/v1/subscriptions/{BOUGHT.id}").json()

    assert "current_period_end" not in found
    assert found["items"]["data"][0]["current_period_end"] == BOUGHT.created + MONTH_S


def test_a_customers_subscriptions_are_listed_newest_first(stripe: SimulatedStripe) -> None:
    later = replace(BOUGHT, id="sub_later", created=BOUGHT.created + 1)
    for one in (BOUGHT, later, replace(BOUGHT, id="sub_other", customer="cus_2")):
        stripe.put(subscription=one)

    found = fetch(stripe, "/v1/subscriptions?customer=cus_1").json()

    assert [one["id"] for one in found["data"]] == ["sub_later", BOUGHT.id]
    assert (found["object"], found["has_more"]) == ("list", False)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(None, {"active"}), ("all", {"active", "canceled"}), ("canceled", {"canceled"})],
)
def test_canceled_subscriptions_are_listed_when_asked_for(
    stripe: SimulatedStripe, status: str | None, expected: set[str]
) -> None:
    stripe.put(subscription=BOUGHT)
    stripe.put(subscription=replace(BOUGHT, id="sub_gone", status="canceled"))
    query = f"&status={status}" if status else ""

    found = fetch(stripe, f"/v1/subscriptions?customer=cus_1{query}").json()["data"]

    assert {one["status"] for one in found} == expected


def test_a_long_list_comes_in_pages(stripe: SimulatedStripe) -> None:
    for number in range(3):
        one = replace(BOUGHT, id=f"sub_{number}", created=BOUGHT.created - number)
        stripe.put(subscription=one)

    first = fetch(stripe, "/v1/subscriptions?limit=2").json()
    rest = fetch(stripe, f"/v1/subscriptions?limit=2&starting_after={first['data'][-1]['id']}")

    assert ([one["id"] for one in first["data"]], first["has_more"]) == (["sub_0", "sub_1"], True)
    assert [one["id"] for one in rest.json()["data"]] == ["sub_2"]


REFUSED = {
    "no key": ("/v1/subscriptions/sub_1", None, 401, "invalid_request_error"),
    "another address": ("/v1/subs/sub_1", KEY, 404, "invalid_request_error"),
    "an unknown parameter": ("/v1/subscriptions?user=1", KEY, 400, "invalid_request_error"),
    "a limit that is none": ("/v1/subscriptions?limit=0", KEY, 400, "invalid_request_error"),
    "an unknown page": ("/v1/subscriptions?starting_after=x", KEY, 404, "invalid_request_error"),
}


@pytest.mark.parametrize(("path", "key", "status", "kind"), REFUSED.values(), ids=list(REFUSED))
def test_stripe_refuses_as_the_vendor_does(
    stripe: SimulatedStripe, path: str, key: str | None, status: int, kind: str
) -> None:
    answer = fetch(stripe, path, key=key)

    assert (answer.status, answer.json()["error"]["type"]) == (status, kind)
    assert answer.headers["request-id"].startswith("req_")


def test_an_unknown_version_is_refused(stripe: SimulatedStripe) -> None:
    assert fetch(stripe, "/v1/subscriptions", version="latest").status == 400


def test_an_object_of_the_other_mode_is_missing_and_that_is_said(stripe: SimulatedStripe) -> None:
    stripe.put(subscription=replace(BOUGHT, livemode=True))

    answer = fetch(stripe, f"/v1/subscriptions/{BOUGHT.id}")

    assert (answer.status, "exists in live mode" in answer.text) == (404, True)


def test_a_key_may_come_as_a_name_without_a_password(stripe: SimulatedStripe) -> None:
    told = base64.b64encode(b"sk_test_basic:").decode()
    Http(stripe.control_url).get(
        "/v1/subscriptions/sub_1", headers={"Authorization": f"Basic {told}"}
    )

    assert [call.key for call in stripe.journal()] == ["sk_test_basic"]


def test_one_fetch_may_be_made_to_fail(stripe: SimulatedStripe) -> None:
    stripe.put(subscription=BOUGHT)
    stripe.fail(500, contains=BOUGHT.id, times=1)

    answers = [fetch(stripe, f"/v1/subscriptions/{BOUGHT.id}") for _ in range(2)]

    assert [answer.status for answer in answers] == [500, 200]
    assert answers[0].json()["error"]["type"] == "api_error"
    assert len(stripe.journal(BOUGHT.id)) == 2


def test_a_held_answer_tells_what_stood_when_the_call_came(stripe: SimulatedStripe) -> None:
    stripe.put(subscription=BOUGHT)
    stripe.reply(hold="gate", times=1)
    call = f"GET /v1/subscriptions/{BOUGHT.id} HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\n\r\n"

    with connected(stripe) as wire:
        wire.sendall(call.encode())
        stripe.wait_for_held(1, 10, "gate")
        stripe.put(subscription=replace(BOUGHT, status="paused"))
        stripe.release("gate")

        assert b'"status": "active"' in wire.recv(65536)


def test_what_is_no_object_of_stripes_is_refused(stripe: SimulatedStripe) -> None:
    with pytest.raises(SimulatorError, match='"object": "subscription"'):
        stripe.put(subscription={"id": "sub_1", "object": "invoice"})


def test_the_shapes_before_and_since_basil_differ() -> None:
    old, new = BOUGHT.rendered(ACACIA), BOUGHT.rendered(BASIL)

    assert ("current_period_end" in old, "current_period_end" in new) == (True, False)
    assert "status_details" in BOUGHT.rendered(ENDIVE)
