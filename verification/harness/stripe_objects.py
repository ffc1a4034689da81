"""Subscriptions and invoices as Stripe shows them, in each API version from acacia to endive.

Values that claims change with `dataclasses.replace`, so that one lifecycle stays consistent:
the same customer has the same subscription unless an id says otherwise. No I/O.
Source: Stripe, changelog, 2025-03-31 (basil) to 2026-09-30 (endive); the field tables of
stripe-python 11.6 to 16.1.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from verification.harness.stack.defaults import PRICES
from verification.harness.users import User

if TYPE_CHECKING:
    from collections.abc import Mapping

ACACIA: Final = "2025-02-24.acacia"
BASIL: Final = "2025-03-31.basil"
CLOVER: Final = "2025-09-30.clover"
DAHLIA: Final = "2026-03-25.dahlia"
ENDIVE: Final = "2026-09-30.endive"
API_VERSIONS: Final = (ACACIA, BASIL, CLOVER, DAHLIA, ENDIVE)

MONTH_S: Final = 30 * 86_400
# Minor units a month; any positive amounts that differ would do.
AMOUNTS: Final = {"basic": 1000, "pro": 2000, "enterprise": 3500}

Json = dict[str, Any]
Customer = User | str


def fresh(prefix: str) -> str:
    """An id that nobody else has."""
    return f"{prefix}_{secrets.token_hex(12)}"


def customer_of(customer: Customer) -> str:
    """The id of a customer.

    Raises: ValueError for a user who has none.
    """
    found = customer.customer if isinstance(customer, User) else customer
    if not found:
        raise ValueError(f"expected a user with a Stripe customer, got {customer!r}")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription at one moment. Times are whole seconds of the wall clock."""

    id: str
    customer: str
    price: str
    amount: int
    created: int
    period_start: int
    period_end: int
    status: str = "active"
    cancel_at_period_end: bool = False
    cancel_at: int | None = None
    canceled_at: int | None = None
    ended_at: int | None = None
    trial_end: int | None = None
    latest_invoice: str | None = None
    paused_because: str = "pause_requested"
    livemode: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)

    def rendered(self, api_version: str = ENDIVE) -> Json:
        """The object as that version of the API shows it."""
        made: Json = {
            "id": self.id,
            "object": "subscription",
            "application": None,
            "automatic_tax": {"enabled": False, "liability": None},
            "billing_cycle_anchor": self.created,
            "cancel_at": self.cancel_at,
            "cancel_at_period_end": self.cancel_at_period_end,
            "canceled_at": self.canceled_at,
            "cancellation_details": {"comment": None, "feedback": None, "reason": None},
            "collection_method": "charge_automatically",
            "created": self.created,
            "currency": "usd",
            "customer": self.customer,
            "days_until_due": None,
            "default_payment_method": None,
            "description": None,
            "discounts": [],
            "ended_at": self.ended_at,
            "items": self._items(api_version),
            "latest_invoice": self.latest_invoice,
            "livemode": self.livemode,
            "metadata": dict(self.metadata),
            "pause_collection": None,
            "pending_setup_intent": None,
            "pending_update": None,
            "schedule": None,
            "start_date": self.created,
            "status": self.status,
            "trial_end": self.trial_end,
            "trial_start": self.created if self.trial_end else None,
        }
        return made | self._of_version(api_version)

    def _of_version(self, api_version: str) -> Json:
        if api_version < BASIL:
            return {"discount": None, **self._period, "plan": _plan(self.price, self.amount)}
        own: Json = {"billing_mode": {"type": "classic"}}
        if api_version >= CLOVER:
            own = {"billing_mode": {"type": "flexible", "updated_at": self.created}}
        if api_version >= DAHLIA:
            own |= {"billing_schedules": [], "managed_payments": {"enabled": False}}
        if api_version >= ENDIVE:
            paused = {"subscription": {"type": self.paused_because}}
            own["status_details"] = {"paused": paused if self.status == "paused" else None}
        return own

    @property
    def _period(self) -> Json:
        return {"current_period_start": self.period_start, "current_period_end": self.period_end}

    def _items(self, api_version: str) -> Json:
        item = {
            "id": f"si_{self.id.removeprefix('sub_')}",
            "object": "subscription_item",
            "created": self.created,
            "discounts": [],
            "metadata": {},
            "plan": _plan(self.price, self.amount),
            "price": _price(self.price, self.amount),
            "quantity": 1,
            "subscription": self.id,
            "tax_rates": [],
            **(self._period if api_version >= BASIL else {}),
        }
        url = f"/v1/subscription_items?subscription={self.id}"
        return {"object": "list", "data": [item], "has_more": False, "total_count": 1, "url": url}


def subscription(
    customer: Customer,
    *,
    plan: str = "basic",
    price: str | None = None,
    created: int | None = None,
    **fields: Any,
) -> Subscription:
    """A subscription of that customer to a plan, healthy unless a field says otherwise.

    Takes: `price`, for a target whose prices are not the suite's; any field of Subscription.
    """
    owner = customer_of(customer)
    began = int(time.time()) if created is None else created
    usual = {"period_start": began, "period_end": began + MONTH_S}
    return Subscription(
        customer=owner,
        price=price or PRICES[plan],
        amount=AMOUNTS[plan],
        created=began,
        **{"id": f"sub_{owner.removeprefix('cus_')}", **usual, **fields},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """An invoice at one moment. `subscription` None: a one-off invoice."""

    id: str
    customer: str
    subscription: Subscription | None
    amount: int
    created: int
    status: str = "paid"
    billing_reason: str = "subscription_cycle"
    attempt_count: int = 1
    next_payment_attempt: int | None = None
    livemode: bool = False

    def rendered(self, api_version: str = ENDIVE) -> Json:
        """The object as that version of the API shows it."""
        paid = self.amount if self.status == "paid" else 0
        made: Json = {
            "id": self.id,
            "object": "invoice",
            "account_country": "US",
            "amount_due": self.amount,
            "amount_paid": paid,
            "amount_remaining": self.amount - paid,
            "attempt_count": self.attempt_count,
            "attempted": self.attempt_count > 0,
            "auto_advance": self.status == "open",
            "billing_reason": self.billing_reason,
            "collection_method": "charge_automatically",
            "created": self.created,
            "currency": "usd",
            "customer": self.customer,
            "customer_email": None,
            "lines": self._lines(api_version),
            "livemode": self.livemode,
            "metadata": {},
            "next_payment_attempt": self.next_payment_attempt,
            "number": f"VFY-{self.id[-8:].upper()}",
            "period_end": self.created,
            "period_start": self.created,
            "status": self.status,
            "status_transitions": {"paid_at": self.created if self.status == "paid" else None},
            "subtotal": self.amount,
            "total": self.amount,
        }
        return made | self._of_version(api_version)

    def _of_version(self, api_version: str) -> Json:
        of = self.subscription
        if api_version < BASIL:
            old = {"charge": None, "discount": None, "payment_intent": None, "quote": None}
            details = {"metadata": dict(of.metadata)} if of else None
            told = {"subscription": of.id if of else None, "subscription_details": details}
            return {**old, **told, "paid": self.status == "paid", "tax": None}
        parent = of and {
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": {"metadata": dict(of.metadata), "subscription": of.id},
        }
        own: Json = {"parent": parent, "amount_overpaid": 0, "confirmation_secret": None}
        own |= {"total_taxes": [], "payments": {"object": "list", "data": [], "has_more": False}}
        if api_version >= CLOVER:
            own["customer_account"] = None
        if api_version >= DAHLIA:
            own["amount_paid_off_stripe"] = 0
        if api_version >= ENDIVE:
            own["status_details"] = {"uncollectible": None}
        return own

    def _lines(self, api_version: str) -> Json:
        of = self.subscription
        began, ends = (of.period_start, of.period_end) if of else (self.created, self.created)
        line: Json = {
            "id": f"il_{self.id.removeprefix('in_')}",
            "object": "line_item",
            "amount": self.amount,
            "currency": "usd",
            "description": "1 × Plan",  # noqa: RUF001  as Stripe spells it, and not ASCII
            "invoice": self.id,
            "livemode": self.livemode,
            "metadata": {},
            "period": {"start": began, "end": ends},
            "quantity": 1,
        }
        if of is not None:
            line |= _old_line(of) if api_version < BASIL else _new_line(of)
        url = f"/v1/invoices/{self.id}/lines"
        return {"object": "list", "data": [line], "has_more": False, "total_count": 1, "url": url}


def invoice(
    customer: Customer,
    *,
    of: Subscription | None = None,
    plan: str = "basic",
    created: int | None = None,
    **fields: Any,
) -> Invoice:
    """An invoice over a period of the customer's subscription, paid unless a field says otherwise.

    Takes: `of`, the subscription, by default the customer's own to `plan`; any field of Invoice,
    `subscription=None` for a one-off invoice.
    """
    began = int(time.time()) if created is None else created
    covered = of or subscription(customer, plan=plan, created=began)
    usual = {"id": fresh("in"), "subscription": covered, "amount": covered.amount}
    livemode = {"livemode": covered.livemode}
    return Invoice(customer=customer_of(customer), created=began, **{**usual, **livemode, **fields})


def _price(price: str, amount: int) -> Json:
    return {
        "id": price,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "currency": "usd",
        "lookup_key": None,
        "metadata": {},
        "product": f"prod_{price}",
        "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
        "type": "recurring",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }


def _plan(price: str, amount: int) -> Json:
    return {
        "id": price,
        "object": "plan",
        "active": True,
        "amount": amount,
        "currency": "usd",
        "interval": "month",
        "interval_count": 1,
        "product": f"prod_{price}",
    }


def _old_line(of: Subscription) -> Json:
    return {
        "plan": _plan(of.price, of.amount),
        "price": _price(of.price, of.amount),
        "proration": False,
        "subscription": of.id,
        "subscription_item": f"si_{of.id.removeprefix('sub_')}",
        "type": "subscription",
    }


def _new_line(of: Subscription) -> Json:
    details = {"price": of.price, "product": f"prod_{of.price}"}
    parent = {
        "proration": False,
        "subscription": of.id,
        "subscription_item": f"si_{of.id.removeprefix('sub_')}",
    }
    return {
        "pricing": {"type": "price_details", "price_details": details},
        "parent": {
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": parent,
        },
    }
