"""Events and signatures: whatever our signing makes, Stripe's own library takes; spoilt, it not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import stripe

from verification.harness import stripe_events
from verification.harness.stripe_events import StripeEvent, changed
from verification.harness.stripe_objects import ACACIA, API_VERSIONS, ENDIVE, invoice, subscription
from verification.harness.stripe_signature import Signature, mac, signature
from verification.harness.users import User

SECRET = "whsec_one"
NOW = int(time.time())
Builder = Callable[..., StripeEvent]
BUILDERS: dict[str, Builder] = {
    "invoice.paid": stripe_events.invoice_paid,
    "invoice.payment_failed": stripe_events.invoice_payment_failed,
    "customer.subscription.created": stripe_events.subscription_created,
    "customer.subscription.updated": stripe_events.subscription_updated,
    "customer.subscription.deleted": stripe_events.subscription_deleted,
    "customer.subscription.paused": stripe_events.subscription_paused,
    "customer.subscription.resumed": stripe_events.subscription_resumed,
    "checkout.session.completed": stripe_events.checkout_completed,
}
USER = User(id="vfy-1", key="k", customer="cus_1")
every_builder = pytest.mark.parametrize(("kind", "build"), BUILDERS.items(), ids=list(BUILDERS))


def taken(payload: bytes, header: Signature | str, secret: str = SECRET) -> Any:
    """The event, as Stripe's library reads it."""
    return stripe.Webhook.construct_event(payload, str(header), secret)


@every_builder
@pytest.mark.parametrize("version", API_VERSIONS)
def test_every_event_is_taken_by_stripes_own_library(
    kind: str, build: Builder, version: str
) -> None:
    event = build("cus_1", api_version=version)

    found = taken(event.payload, signature(event.payload, SECRET))

    assert (found.id, found.type, found.api_version) == (event.id, kind, version)
    assert found.data.object.customer == "cus_1"


@every_builder
def test_every_event_is_what_its_envelope_says(kind: str, build: Builder) -> None:
    event = build(
        USER, id="evt_1", created=1_700_000_000, livemode=True, api_version=ACACIA, account="acct_1"
    )

    said = json.loads(event.payload)

    assert (said["id"], said["created"], said["api_version"]) == ("evt_1", 1_700_000_000, ACACIA)
    assert (said["livemode"], said["data"]["object"]["livemode"]) == (True, True)
    assert (said["type"], said["account"], event.user) == (kind, "acct_1", "vfy-1")


@every_builder
def test_events_have_ids_of_their_own_and_are_sent_again_to_the_byte(
    kind: str, build: Builder
) -> None:
    first, second = build("cus_1"), build("cus_1")

    assert first.id != second.id
    assert (first.payload, kind) == (first.payload, json.loads(first.payload)["type"])


def test_the_events_of_a_customer_are_of_one_subscription() -> None:
    about = [
        stripe_events.subscription_created(USER).object["id"],
        stripe_events.subscription_deleted("cus_1").object["id"],
        stripe_events.checkout_completed(USER).object["subscription"],
        stripe_events.invoice_paid(USER, api_version=ACACIA).object["subscription"],
    ]

    assert len(set(about)) == 1


def test_an_invoice_names_its_subscription_where_its_version_has_it() -> None:
    old = stripe_events.invoice_paid("cus_1", api_version=ACACIA).object
    new = stripe_events.invoice_paid("cus_1", api_version=ENDIVE).object

    assert (old["subscription"], "parent" in old) == ("sub_1", False)
    assert "subscription" not in new
    assert new["parent"]["subscription_details"]["subscription"] == "sub_1"


def test_a_one_off_invoice_has_no_parent() -> None:
    alone = invoice("cus_1", subscription=None)

    assert stripe_events.invoice_paid("cus_1", invoice=alone).object["parent"] is None


def test_a_failed_payment_is_open_and_will_be_tried_again() -> None:
    failed = stripe_events.invoice_payment_failed("cus_1", attempt=2, created=NOW).object

    assert (failed["status"], failed["amount_paid"], failed["attempt_count"]) == ("open", 0, 2)
    assert failed["next_payment_attempt"] > NOW


def test_an_update_tells_the_old_values_of_what_changed() -> None:
    now = subscription("cus_1", plan="pro", created=NOW)
    was = replace(now, status="past_due", cancel_at_period_end=True)

    event = stripe_events.subscription_updated(now, was=was)

    assert json.loads(event.payload)["data"]["previous_attributes"] == {
        "status": "past_due",
        "cancel_at_period_end": True,
    }


def test_changes_are_told_by_key_and_arrays_whole() -> None:
    was = {"a": 1, "b": {"c": 1, "d": 1}, "e": [1, 2], "f": 1}
    now = {"a": 1, "b": {"c": 2, "d": 1}, "e": [1, 3], "f": 1, "g": 5}

    assert changed(was, now) == {"b": {"c": 1}, "e": [1, 2], "g": None}


PAYLOAD = stripe_events.invoice_paid("cus_1").payload
SIGNED = signature(PAYLOAD, SECRET, at=NOW)
TAKEN = {
    "as Stripe signs it": SIGNED,
    "signed with the old secret too": signature(PAYLOAD, "whsec_old", SECRET, at=NOW),
    "with a scheme for tests beside it": SIGNED.after("v0", "x" * 64),
    "with a wrong one before it": SIGNED.before("v1", "0" * 64),
}
REFUSED = {
    "another secret": signature(PAYLOAD, "whsec_other", at=NOW),
    "stale": signature(PAYLOAD, SECRET, at=NOW - 1000),
    "another time than it was signed at": SIGNED.having("t", str(NOW - 1)),
    "another body": signature(PAYLOAD + b"\n", SECRET, at=NOW),
    "the scheme for tests alone": SIGNED.renamed("v1", "v0"),
    "no time": SIGNED.without("t"),
    "no signature": SIGNED.without("v1"),
    "a space after the comma": Signature(SIGNED.parts, separator=", "),
    "capitals": SIGNED.having("v1", mac(PAYLOAD, SECRET, NOW).upper()),
    "nothing": "",
}


@pytest.mark.parametrize("header", TAKEN.values(), ids=list(TAKEN))
def test_a_right_signature_is_taken(header: Signature) -> None:
    assert taken(PAYLOAD, header).type == "invoice.paid"


@pytest.mark.parametrize("header", REFUSED.values(), ids=list(REFUSED))
def test_a_signature_with_one_thing_wrong_is_refused(header: Signature | str) -> None:
    with pytest.raises(stripe.SignatureVerificationError):
        taken(PAYLOAD, header)


def test_the_signature_is_the_one_that_stripes_library_makes() -> None:
    theirs = stripe.WebhookSignature.generate_signature_header(PAYLOAD.decode(), SECRET, NOW)

    assert str(SIGNED) == theirs


def test_a_user_without_a_customer_has_no_events() -> None:
    with pytest.raises(ValueError, match="expected a user with a Stripe customer"):
        stripe_events.invoice_paid(User(id="u", key="k"))
