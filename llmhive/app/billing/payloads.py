"""Stripe's payloads as values, from API version acacia to endive: new places first, then old.

`api_version` is never asked: old places are still seen in new payloads and the other way round.
No I/O, no clock. Source: Stripe's changelog, 2025-03-31 (basil) to 2026-09-30 (endive).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from llmhive.app.billing.model import (
    HANDLED,
    BillingEvent,
    DeliveryRejectedError,
    EventType,
    Invoice,
    Rejection,
    Snapshot,
    Status,
)

# Stripe: ids have at most 255 characters ("Upgrades", what counts as compatible, 2026-10).
ID_LENGTH_MAX: Final = 255
# Beyond these a number is no time stamp and no amount, and would not fit into a column.
SECONDS_MAX: Final = 10**11
AMOUNT_MAX: Final = 10**15

Json = Mapping[str, Any]


def parse_event(body: bytes) -> BillingEvent:
    """Read a verified delivery; of types without effect only what every event has.

    Raises: DeliveryRejectedError (definite) when it is no event, or lacks what its type needs.
    """
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _malformed() from error
    event_id, kind = id_of(_field(payload, "id")), _field(payload, "type")
    if event_id is None or not isinstance(kind, str) or not 0 < len(kind) <= ID_LENGTH_MAX:
        raise _malformed()
    created = _whole(payload.get("created"), SECONDS_MAX)
    envelope: dict[str, Any] = {
        "event_id": event_id,
        "type": kind,
        "created": created or 0,
        "is_live": payload.get("livemode") is True,
        "account": id_of(payload.get("account")),
    }
    if kind not in HANDLED or envelope["account"]:
        return BillingEvent(**envelope)
    told = _field(payload.get("data"), "object")
    if created is None or not isinstance(told, Mapping):
        raise _malformed()
    return BillingEvent(**envelope, **_said(kind, told))


def _said(kind: str, told: Json) -> dict[str, Any]:
    """What the object of a handled event says."""
    if kind.startswith("invoice."):
        invoice = read_invoice(told)
        if invoice is None:
            raise _malformed()
        owner, subscription = invoice.customer, invoice.subscription
        return {"customer": owner, "subscription": subscription, "invoice": invoice}
    if kind == EventType.CHECKOUT_COMPLETED:
        return {
            "customer": id_of(told.get("customer")),
            "subscription": id_of(told.get("subscription")),
            "user": id_of(told.get("client_reference_id")),
        }
    is_over = kind == EventType.SUBSCRIPTION_DELETED
    snapshot = read_subscription({**told, "status": Status.CANCELED.value} if is_over else told)
    if snapshot is None:
        raise _malformed()
    owner, subscription = snapshot.customer, snapshot.subscription_id
    return {"customer": owner, "subscription": subscription, "snapshot": snapshot}


def read_invoice(told: Json) -> Invoice | None:
    """An invoice in any shape; None when it has no id."""
    invoice_id = id_of(told.get("id"))
    if invoice_id is None:
        return None
    details = _field(told.get("parent"), "subscription_details")
    subscription = id_of(_field(details, "subscription")) or id_of(told.get("subscription"))
    currency = told.get("currency")
    return Invoice(
        invoice_id=invoice_id,
        customer=id_of(told.get("customer")),
        subscription=subscription,
        amount_paid=_whole(told.get("amount_paid"), AMOUNT_MAX) or 0,
        currency=currency.lower() if isinstance(currency, str) and len(currency) == 3 else None,  # noqa: PLR2004  ISO 4217
        is_of_subscription=subscription is not None
        or str(told.get("billing_reason")).startswith("subscription"),
    )


def read_subscription(told: Json) -> Snapshot | None:
    """A subscription in any shape; None when it has no id or no status."""
    subscription_id, status = id_of(told.get("id")), id_of(told.get("status"))
    if subscription_id is None or status is None:
        return None
    items = list(_items(told))
    prices = [id_of(_field(item, "price")) or id_of(_field(item, "plan")) for item in items]
    ends = [_whole(_field(item, "current_period_end"), SECONDS_MAX) for item in items]
    # Items may end at different times; access lasts as long as the last of them.
    period_end = max((end for end in ends if end), default=None)
    period_end = period_end or _whole(told.get("current_period_end"), SECONDS_MAX) or None
    # Flexible billing says when instead of whether.
    ends_then = period_end is not None and told.get("cancel_at") == period_end
    return Snapshot(
        subscription_id=subscription_id,
        customer=id_of(told.get("customer")),
        status=status,
        prices=tuple(price for price in prices if price),
        current_period_end=period_end,
        cancel_at_period_end=told.get("cancel_at_period_end") is True or ends_then,
    )


def _items(told: Json) -> Iterator[Json]:
    items = _field(told.get("items"), "data")
    found = [item for item in items if isinstance(item, Mapping)] if items else []
    if not found and isinstance(told.get("plan"), Mapping):
        found = [{"plan": told["plan"]}]
    yield from found


def id_of(value: object) -> str | None:
    """An id, given as itself or as the object that has it; None for anything else."""
    if isinstance(value, Mapping):
        value = value.get("id")
    if not isinstance(value, str) or not 0 < len(value) <= ID_LENGTH_MAX:
        return None
    return value if value.isprintable() else None


def _field(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _whole(value: object, most: int) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and 0 <= value <= most else None  # type: ignore[operator,return-value]  # narrowed above


def _malformed() -> DeliveryRejectedError:
    return DeliveryRejectedError(Rejection.MALFORMED_BODY, code="malformed_json")
