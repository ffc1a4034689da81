"""Events as Stripe sends them: what happened to a subscription, an invoice or a checkout.

Every builder takes the customer, or the object itself where a claim needs more than its plan,
and the envelope: `id`, `created`, `livemode`, `api_version`, `account`. Sent again, an event is
the same bytes. No I/O. Source: Stripe, API reference, "The Event object" (2026-10).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from verification.harness.stripe_objects import (
    ENDIVE,
    Customer,
    Invoice,
    Json,
    Subscription,
    customer_of,
    fresh,
    invoice,
    subscription,
)
from verification.harness.users import User

if TYPE_CHECKING:
    from collections.abc import Mapping

# After a failed attempt Stripe tries again within days.
NEXT_ATTEMPT_S: Final = 3 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeEvent:
    """An event; `user` is the user to whom its customer belongs, None when nobody says so."""

    id: str
    type: str
    created: int
    api_version: str
    object: Json = field(repr=False)
    livemode: bool = False
    previous: Mapping[str, Any] | None = field(repr=False, default=None)
    account: str | None = None
    user: str | None = None

    @property
    def invoice(self) -> str | None:
        """The invoice that it is about."""
        return str(self.object["id"]) if self.object.get("object") == "invoice" else None

    @property
    def payload(self) -> bytes:
        """The body as Stripe spells it, the same each time."""
        data: Json = {"object": self.object}
        if self.previous is not None:
            data["previous_attributes"] = dict(self.previous)
        made = {
            "id": self.id,
            "object": "event",
            **({"account": self.account} if self.account else {}),
            "api_version": self.api_version,
            "created": self.created,
            "data": data,
            "livemode": self.livemode,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": self.type,
        }
        return json.dumps(made, indent=2, ensure_ascii=False).encode()


class Envelope(TypedDict, total=False):
    """What may be said of any event; `created` in seconds of the wall clock, now by default."""

    id: str
    created: int
    livemode: bool
    api_version: str
    account: str
    user: str | None


Of = Customer | Subscription


def event(
    kind: str,
    told: Subscription | Invoice | Json,
    *,
    previous: Mapping[str, Any] | None = None,
    **envelope: Unpack[Envelope],
) -> StripeEvent:
    """An event of any type about an object, given as a value or as it is to be sent."""
    live = envelope.get("livemode", False)
    version = envelope.get("api_version", ENDIVE)
    shown = dict(told) if isinstance(told, dict) else told.rendered(version)
    return StripeEvent(
        id=envelope.get("id") or fresh("evt"),
        type=kind,
        created=envelope.get("created", int(time.time())),
        api_version=version,
        object={**shown, "livemode": live or bool(shown.get("livemode"))},
        livemode=live,
        previous=previous,
        account=envelope.get("account"),
        user=envelope.get("user"),
    )


def invoice_paid(
    customer: Customer,
    *,
    plan: str = "basic",
    invoice: Invoice | None = None,
    **envelope: Unpack[Envelope],
) -> StripeEvent:
    """invoice.paid, for the customer's subscription to `plan`, or for that invoice."""
    told = invoice or _invoice(customer, plan, envelope)
    return event("invoice.paid", replace(told, status="paid"), **_owned(customer, envelope))


def invoice_payment_failed(
    customer: Customer,
    *,
    plan: str = "basic",
    invoice: Invoice | None = None,
    attempt: int = 1,
    **envelope: Unpack[Envelope],
) -> StripeEvent:
    """invoice.payment_failed, one for each failed `attempt`."""
    told = invoice or _invoice(customer, plan, envelope)
    again = envelope.get("created", told.created) + NEXT_ATTEMPT_S
    failed = replace(told, status="open", attempt_count=attempt, next_payment_attempt=again)
    return event("invoice.payment_failed", failed, **_owned(customer, envelope))


def subscription_created(
    of: Of, *, plan: str = "basic", **envelope: Unpack[Envelope]
) -> StripeEvent:
    """customer.subscription.created."""
    told = _subscription(of, plan, envelope)
    return event("customer.subscription.created", told, **_owned(of, envelope))


def subscription_updated(
    of: Of,
    *,
    plan: str = "basic",
    was: Subscription | None = None,
    **envelope: Unpack[Envelope],
) -> StripeEvent:
    """customer.subscription.updated, with what changed since `was`."""
    told = _subscription(of, plan, envelope)
    version = envelope.get("api_version", ENDIVE)
    previous = changed(was.rendered(version), told.rendered(version)) if was else {}
    every = _owned(of, envelope)
    return event("customer.subscription.updated", told, previous=previous, **every)


def subscription_deleted(
    of: Of, *, plan: str = "basic", **envelope: Unpack[Envelope]
) -> StripeEvent:
    """customer.subscription.deleted: the final object."""
    told = _subscription(of, plan, envelope)
    ended = envelope.get("created", int(time.time()))
    final = replace(told, status="canceled", canceled_at=ended, ended_at=ended)
    return event("customer.subscription.deleted", final, **_owned(of, envelope))


def subscription_paused(
    of: Of, *, plan: str = "basic", **envelope: Unpack[Envelope]
) -> StripeEvent:
    """customer.subscription.paused: the status, not `pause_collection`."""
    told = replace(_subscription(of, plan, envelope), status="paused")
    return event("customer.subscription.paused", told, **_owned(of, envelope))


def subscription_resumed(
    of: Of, *, plan: str = "basic", **envelope: Unpack[Envelope]
) -> StripeEvent:
    """customer.subscription.resumed."""
    told = replace(_subscription(of, plan, envelope), status="active")
    return event("customer.subscription.resumed", told, **_owned(of, envelope))


def checkout_completed(
    customer: Customer,
    *,
    reference: str | None = None,
    of: Subscription | None = None,
    plan: str = "basic",
    **envelope: Unpack[Envelope],
) -> StripeEvent:
    """checkout.session.completed: who `reference` (the user) is has bought a subscription."""
    bought = of or subscription(customer, plan=plan)
    owner = customer.id if isinstance(customer, User) else None
    session = {
        "id": fresh("cs_test"),
        "object": "checkout.session",
        "amount_total": bought.amount,
        "client_reference_id": reference or owner,
        "currency": "usd",
        "customer": customer_of(customer),
        "mode": "subscription",
        "payment_status": "paid",
        "status": "complete",
        "subscription": bought.id,
    }
    every = _owned(customer, envelope)
    if reference is not None:
        every["user"] = envelope.get("user", reference)
    return event("checkout.session.completed", session, **every)


def changed(was: Mapping[str, Any], now: Mapping[str, Any]) -> Json:
    """Stripe's `previous_attributes`: the changed keys with their old values, arrays whole."""
    found: Json = {}
    for name, old in was.items():
        new = now.get(name)
        if old == new:
            continue
        both = isinstance(old, dict) and isinstance(new, dict)
        found[name] = changed(old, new) if both and isinstance(new, dict) else old
    return found | {name: None for name in now if name not in was}


def _subscription(of: Of, plan: str, envelope: Envelope) -> Subscription:
    if isinstance(of, Subscription):
        return of
    return subscription(of, plan=plan, created=envelope.get("created"))


def _invoice(customer: Customer, plan: str, envelope: Envelope) -> Invoice:
    return invoice(customer, plan=plan, created=envelope.get("created"))


def _owned(of: Of, envelope: Envelope) -> Envelope:
    """The envelope with the user whose customer it is, unless it names one."""
    owner = of.id if isinstance(of, User) else None
    return Envelope(**{"user": owner, **envelope})
