"""What billing promises. Source: DESIGN section 3 and the checklist."""

from __future__ import annotations

from typing import Final

from verification.contract.promise import promise

_BILLING = "DESIGN 3.6; checklist, Stripe Webhook Setup"

WEBHOOK_ROUTE: Final = promise(
    _BILLING,
    "billing.route",
    "the webhook stands at its address with and without slash, never redirects, takes no key",
    "stripe.endpoint.created",
    "stripe.endpoint.url",
)
SIGNATURES: Final = promise(
    _BILLING,
    "billing.signatures",
    "only the raw body, freshly signed with a configured secret, is taken; all else is 400",
    "stripe.health.signatures-verified",
    "stripe.endpoint.secret-configured",
    "env.stripe.webhook-secret",
    "predeploy.integration.stripe-webhook-verified",
)
SECRET_ROTATION: Final = promise(
    _BILLING,
    "billing.secret-rotation",
    "during a rotation both secrets are taken",
    "secrets.always.rotation-works",
    "stripe.health.signatures-verified",
)
APPLIED_ONCE: Final = promise(
    _BILLING,
    "billing.applied-once",
    "each event's effect on ledger and entitlement happens exactly once",
    "stripe.health.duplicates-skipped",
)
ACKNOWLEDGED_WHEN_DONE: Final = promise(
    _BILLING,
    "billing.acknowledged-when-done",
    "2xx is said only when nothing is left to do; everything else is delivered again",
    "stripe.health.duplicates-skipped",
    "rollback.webhooks-resume",
)
ANY_ORDER: Final = promise(
    _BILLING,
    "billing.any-order",
    "any order and any duplication of events ends in the same entitlement",
    "stripe.health.duplicates-skipped",
    "stripe.events.subscription-updated",
    "stripe.events.subscription-deleted",
)
LEDGER_TELLS: Final = promise(
    _BILLING,
    "billing.ledger",
    "a row of the ledger tells event, invoice, kind, amount, currency and time of its effect",
    "stripe.events.invoice-paid",
)
CUSTOMERS_USER: Final = promise(
    _BILLING,
    "billing.customers-user",
    "a customer belongs to the user whom the operator or a checkout ties to them",
    "stripe.events.subscription-updated",
)
BEST_SUBSCRIPTION: Final = promise(
    _BILLING,
    "billing.best-subscription",
    "the best of a customer's live subscriptions counts",
    "stripe.events.subscription-updated",
)
INVOICE_PAID: Final = promise(
    _BILLING,
    "billing.invoice-paid",
    "a paid invoice entitles to its plan",
    "stripe.events.invoice-paid",
)
PRICE_BASIC: Final = promise(
    _BILLING, "billing.price.basic", "the basic price entitles to basic", "env.stripe.price-basic"
)
PRICE_PRO: Final = promise(
    _BILLING, "billing.price.pro", "the pro price entitles to pro", "env.stripe.price-pro"
)
PRICE_ENTERPRISE: Final = promise(
    _BILLING,
    "billing.price.enterprise",
    "the enterprise price entitles to enterprise",
    "env.stripe.price-enterprise",
)
INVOICE_PAYMENT_FAILED: Final = promise(
    _BILLING,
    "billing.invoice-payment-failed",
    "a failed payment begins the grace at its earliest attempt, and grace ends",
    "stripe.events.invoice-payment-failed",
)
SUBSCRIPTION_UPDATED: Final = promise(
    _BILLING,
    "billing.subscription-updated",
    "a changed subscription changes the entitlement, by its newest state only",
    "stripe.events.subscription-updated",
)
SUBSCRIPTION_DELETED: Final = promise(
    _BILLING,
    "billing.subscription-deleted",
    "a deleted subscription ends the entitlement and stays ended",
    "stripe.events.subscription-deleted",
)
ENTITLED_BY_LIST: Final = promise(
    _BILLING,
    "billing.entitled-by-list",
    "only listed states entitle; everything else is free",
    "stripe.events.subscription-updated",
)
TIER_FOLLOWS: Final = promise(
    _BILLING,
    "billing.tier-follows",
    "a change of entitlement changes the limits on all workers within 5 s",
    "stripe.events.subscription-updated",
    "security.auth.rate-limit-per-user",
)
STRIPE_KEY: Final = promise(
    _BILLING,
    "billing.stripe-key",
    "Stripe is called with the configured key, and with no other",
    "env.stripe.secret-key",
)
STRIPE_AWAY: Final = promise(
    _BILLING,
    "billing.stripe-away",
    "an event whose object cannot be fetched is 503 and is applied when Stripe is back",
    "rollback.webhooks-resume",
)
WEBHOOK_BODY: Final = promise(
    _BILLING,
    "billing.body",
    "a webhook body over 256 kB is refused before it is read",
    "security.input.sanitised",
)
OWN_BILLING_ONLY: Final = promise(
    "DESIGN 3.1, 3.6",
    "billing.own-only",
    "a caller sees their own subscription and ledger only",
)
