"""Stripe as tests of billing play it: bodies of deliveries, and what a fetch answers."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from collections.abc import Callable
from typing import Any

from llmhive.app.billing.model import BillingConfig, Snapshot, StripeError

SECRET = "whsec_of_these_tests"
PRICES = {"price_b": "basic", "price_p": "pro", "price_e": "enterprise"}
CONFIG = BillingConfig(prices=PRICES, is_live=False)
NUMBERS = itertools.count(1)


def signed(body: bytes, at: float, secret: str = SECRET) -> bytes:
    """The header that Stripe sends with a body."""
    stamp = str(int(at)).encode()
    mac = hmac.new(secret.encode(), stamp + b"." + body, hashlib.sha256).hexdigest()
    return b"t=%b,v1=%b" % (stamp, mac.encode())


def subscription(
    status: str = "active", *, price: str = "price_p", number: str = "sub_1", **fields: Any
) -> dict[str, Any]:
    """A subscription object."""
    item = {"price": {"id": price}, "current_period_end": 1_800_000_000}
    made = {"id": number, "object": "subscription", "customer": "cus_1", "status": status}
    return {**made, "items": {"data": [item]}, **fields}


def invoice(number: str = "in_1", *, subscription: str | None = "sub_1", **fields: Any) -> Any:
    """An invoice object."""
    parent = {"subscription_details": {"subscription": subscription}} if subscription else None
    made = {"id": number, "object": "invoice", "customer": "cus_1", "parent": parent}
    return {**made, "amount_paid": 2000, "currency": "usd", **fields}


def delivery(kind: str, told: Any, *, created: object = 1_790_000_000, **fields: Any) -> bytes:
    """The body of a delivery."""
    made = {"id": f"evt_{next(NUMBERS)}", "type": kind, "created": created, "livemode": False}
    return json.dumps({**made, "data": {"object": told}, **fields}).encode()


class FakeStripe:
    """A SubscriptionSource: what Stripe has, or its failure; `before` runs while it is asked."""

    def __init__(self) -> None:
        self.has: dict[str, Snapshot] = {}
        self.fails = False
        self.asked: list[str] = []
        self.before: Callable[[], Any] | None = None

    def put(self, status: str, *, price: str = "price_p", number: str = "sub_1") -> None:
        """Have a subscription."""
        self.has[number] = Snapshot(number, "cus_1", status, (price,), 1_800_000_000)

    async def subscription(self, subscription_id: str) -> Snapshot:
        self.asked.append(subscription_id)
        if self.before is not None:
            await self.before()
        if self.fails or subscription_id not in self.has:
            raise StripeError
        return self.has[subscription_id]


class Heard:
    """A BillingObserver that remembers."""

    def __init__(self) -> None:
        self.rejections: list[str] = []
        self.outcomes: list[tuple[str, str]] = []

    def rejected(self, reason: str) -> None:
        self.rejections.append(reason)

    def handled(self, kind: str, outcome: str) -> None:
        self.outcomes.append((kind, outcome))
