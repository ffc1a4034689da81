"""The shapes of Stripe's objects by API version: basil moved fields, this moves them both ways.

Source: Stripe, changelog 2025-03-31 (basil): "Deprecate subscription current period start and
end", "Adds support for invoice parents"; the field tables of stripe-python 11.6 to 16.1.
"""

from __future__ import annotations

import copy
import re
from typing import Any, Final

NEWEST: Final = "2026-10-28.endive"
"""What an account of today gets when it names no version."""
BASIL: Final = "2025-03-31"
_VERSION: Final = re.compile(r"(20\d\d-\d\d-\d\d)(\.[a-z]+)?")
_PERIOD: Final = ("current_period_start", "current_period_end")

Json = dict[str, Any]


def is_version(text: str) -> bool:
    """Whether Stripe would take it as a version."""
    return _VERSION.fullmatch(text) is not None


def is_old(version: str) -> bool:
    """Before basil."""
    return version[: len(BASIL)] < BASIL


def shaped(told: Json, version: str) -> Json:
    """A subscription or an invoice as that version shows it, whatever shape it comes in."""
    made = copy.deepcopy(told)
    if made.get("object") == "subscription":
        return _old_subscription(made) if is_old(version) else _new_subscription(made)
    if made.get("object") == "invoice":
        return _old_invoice(made) if is_old(version) else _new_invoice(made)
    return made


def _items(subscription: Json) -> list[Json]:
    items = subscription.get("items")
    data = items.get("data") if isinstance(items, dict) else None
    return [item for item in data or [] if isinstance(item, dict)]


def _old_subscription(told: Json) -> Json:
    """The period of the whole subscription: from the earliest start to the latest end."""
    for name, choose in zip(_PERIOD, (min, max), strict=True):
        periods = [item.pop(name) for item in _items(told) if name in item]
        if name not in told and periods:
            told[name] = choose(periods)
    return told


def _new_subscription(told: Json) -> Json:
    items = _items(told)
    for name in _PERIOD:
        if name in told and items:
            period = told.pop(name)
            for item in items:
                item.setdefault(name, period)
    return told


def _old_invoice(told: Json) -> Json:
    parent = told.pop("parent", None)
    details = parent.get("subscription_details") if isinstance(parent, dict) else None
    if isinstance(details, dict):
        told.setdefault("subscription", details.get("subscription"))
        told.setdefault("subscription_details", {"metadata": details.get("metadata") or {}})
    told.setdefault("subscription", None)
    told.setdefault("paid", told.get("status") == "paid")
    return told


def _new_invoice(told: Json) -> Json:
    subscription, details = told.pop("subscription", None), told.pop("subscription_details", None)
    told.pop("paid", None)
    if subscription is not None:
        metadata = details.get("metadata") if isinstance(details, dict) else None
        of = {"subscription": subscription, "metadata": metadata or {}}
        told["parent"] = {
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": of,
        }
    told.setdefault("parent", None)
    return told
