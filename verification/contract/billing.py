"""The numbers and names of billing. Source: DESIGN 3.6; checklist, Stripe Webhook Setup."""

from __future__ import annotations

from typing import Final

CHECKLIST_EVENTS: Final = (
    "invoice.paid",
    "invoice.payment_failed",
    "customer.subscription.updated",
    "customer.subscription.deleted",
)
FURTHER_EVENTS: Final = (
    "customer.subscription.created",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "checkout.session.completed",
)
SIGNATURE_TOLERANCE_S: Final = 300
EVENT_LEASE_S: Final = 15.0
EVENT_ATTEMPTS: Final = 8
GRACE_DAYS: Final = 7.0
# The allow-list; past_due only while its grace lasts.
ENTITLED_STATUSES: Final = frozenset({"active", "trialing", "past_due"})
TERMINAL_STATUSES: Final = frozenset({"canceled", "incomplete_expired"})
