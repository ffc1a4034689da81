"""Subscriptions, invoices and events as values; who is entitled to what, and when.

No I/O, no clock: whoever asks says what time it is. Statuses are Stripe's own words, and one
that is not in the table entitles to nothing. May not import adapters.
Source: DESIGN.md, section 3.6; Stripe, "Subscription statuses" (2026-10).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from llmhive.app.errors import CallerError, CapacityError, DependencyError

LEAST_TIER: Final = "free"
# From the least to the best.
TIERS: Final = (LEAST_TIER, "basic", "pro", "enterprise")
DAY_S: Final = 86_400.0


class EventType(StrEnum):
    """The events that have an effect: the checklist's four, and four that come with them."""

    INVOICE_PAID = "invoice.paid"
    INVOICE_PAYMENT_FAILED = "invoice.payment_failed"
    SUBSCRIPTION_UPDATED = "customer.subscription.updated"
    SUBSCRIPTION_DELETED = "customer.subscription.deleted"
    SUBSCRIPTION_CREATED = "customer.subscription.created"
    SUBSCRIPTION_PAUSED = "customer.subscription.paused"
    SUBSCRIPTION_RESUMED = "customer.subscription.resumed"
    CHECKOUT_COMPLETED = "checkout.session.completed"


HANDLED: Final = frozenset(EventType)
OTHER_TYPE: Final = "other"


class Status(StrEnum):
    """A subscription's status in Stripe's words."""

    INCOMPLETE = "incomplete"
    INCOMPLETE_EXPIRED = "incomplete_expired"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    UNPAID = "unpaid"
    PAUSED = "paused"
    CANCELED = "canceled"


class Access(StrEnum):
    """What a status allows."""

    FULL = "full"
    WHILE_IN_GRACE = "while_in_grace"
    NONE = "none"


ACCESS: Final[Mapping[str, Access]] = {
    Status.INCOMPLETE: Access.NONE,
    Status.INCOMPLETE_EXPIRED: Access.NONE,
    Status.TRIALING: Access.FULL,
    Status.ACTIVE: Access.FULL,
    Status.PAST_DUE: Access.WHILE_IN_GRACE,
    Status.UNPAID: Access.NONE,
    Status.PAUSED: Access.NONE,
    Status.CANCELED: Access.NONE,
}
"""The allow-list: what is not in it has no access."""

TERMINAL: Final = frozenset({Status.CANCELED.value, Status.INCOMPLETE_EXPIRED.value})
"""Stripe never leaves these: whoever subscribes again gets another subscription."""


class Outcome(StrEnum):
    """What became of a delivery."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    DEAD = "dead"
    IGNORED = "ignored"
    WRONG_LIVEMODE = "wrong_livemode"
    FOREIGN_ACCOUNT = "foreign_account"
    IN_PROGRESS = "in_progress"
    FAILED = "failed"


class Rejection(StrEnum):
    """Why a delivery was not believed."""

    NOT_CONFIGURED = "not_configured"
    TOO_LARGE = "too_large"
    CUT_OFF = "cut_off"
    MISSING_SIGNATURE = "missing_signature"
    MALFORMED_SIGNATURE = "malformed_signature"
    WRONG_SIGNATURE = "wrong_signature"
    TOO_OLD = "too_old"
    IN_THE_FUTURE = "in_the_future"
    NOT_UTF8 = "not_utf8"
    MALFORMED_BODY = "malformed_body"


class DeliveryRejectedError(CallerError):
    """A delivery is not believed; nothing happened, and nothing of it may be repeated or logged."""

    code = "webhook_signature_invalid"
    title = "This delivery is not signed as it has to be."

    def __init__(
        self, reason: Rejection, *, code: str | None = None, http_status: int | None = None
    ) -> None:
        super().__init__(f"The delivery was refused: {reason}.", code=code, http_status=http_status)
        self.reason = reason


class EventInProgressError(CapacityError):
    """Another delivery of this event, or another event of this customer, is being worked on."""

    code = "webhook_in_progress"
    title = "This event is being worked on."


class StripeError(DependencyError):
    """Stripe could not be asked, or its answer could not be read; asking changes nothing there."""

    code = "stripe_unavailable"
    title = "Stripe cannot be asked at the moment."


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice; `amount_paid` in minor units of `currency`."""

    invoice_id: str
    customer: str | None
    subscription: str | None
    amount_paid: int
    currency: str | None
    # It says that it belongs to a subscription, whether or not it says to which.
    is_of_subscription: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A subscription as Stripe saw it at one moment."""

    subscription_id: str
    customer: str | None
    status: str
    prices: tuple[str, ...] = ()
    current_period_end: int | None = None
    cancel_at_period_end: bool = False


@dataclass(frozen=True, slots=True)
class BillingEvent:
    """What an event says; `created` in Stripe's whole seconds, which are no total order."""

    event_id: str
    type: str
    created: int
    is_live: bool
    account: str | None = None
    customer: str | None = None
    subscription: str | None = None
    invoice: Invoice | None = None
    snapshot: Snapshot | None = None
    # Checkout's client_reference_id: the user who paid.
    user: str | None = None

    @property
    def is_handled(self) -> bool:
        """Whether events of this type have an effect."""
        return self.type in HANDLED

    @property
    def told_type(self) -> str:
        """The type from a closed set, for metrics."""
        return self.type if self.is_handled else OTHER_TYPE


@dataclass(frozen=True, slots=True)
class Fact:
    """What one handled event proves of a subscription for ever, whenever it arrives."""

    type: str
    created: int
    status: str | None = None
    invoice: str | None = None


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """A subscription as we hold it, valid as of `taken_at`; `version` counts its events."""

    subscription_id: str
    customer: str
    status: str
    tier: str | None
    price: str | None
    current_period_end: int | None
    cancel_at_period_end: bool
    taken_at: int
    past_due_since: float | None = None
    grace_ends: float | None = None
    version: int = 1

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will ever change it."""
        return self.status in TERMINAL

    def is_entitled(self, now: float) -> bool:
        """Whether it gives access at `now`, wall-clock seconds."""
        access = ACCESS.get(self.status, Access.NONE)
        if access is Access.WHILE_IN_GRACE:
            return self.grace_ends is not None and now < self.grace_ends
        return access is Access.FULL


@dataclass(frozen=True, slots=True)
class Known:
    """What we hold of one subscription: its state if any, and every fact."""

    state: SubscriptionState | None = None
    facts: tuple[Fact, ...] = ()

    @property
    def version(self) -> int:
        """How many events have been applied; 0 when the subscription is not known."""
        return self.state.version if self.state else 0


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One effect; `amount` in minor units of `currency`, 0 when no money moved."""

    event: str
    customer: str
    invoice: str | None
    kind: str
    amount: int
    currency: str | None
    created: int


@dataclass(frozen=True, slots=True)
class Effects:
    """What an event changes, decided on what was known at `seen_version`."""

    state: SubscriptionState | None = None
    seen_version: int = 0
    entry: LedgerEntry | None = None
    link_user: str | None = None


@dataclass(frozen=True, slots=True)
class BillingAccount:
    """A user with what an operator granted and what Stripe sells them."""

    user_id: str
    granted_tier: str
    subscriptions: tuple[SubscriptionState, ...] = ()

    def tier(self, now: float) -> str:
        """The better of what was granted and what live subscriptions entitle to."""
        return best_tier([self.granted_tier, entitled_tier(self.subscriptions, now)])

    def foremost(self, now: float) -> SubscriptionState | None:
        """The subscription that speaks for the account: an entitled, good, new one if any."""
        return max(
            self.subscriptions,
            key=lambda one: (one.is_entitled(now), _rank(one.tier), one.taken_at),
            default=None,
        )


@dataclass(frozen=True, slots=True)
class BillingConfig:
    """The numbers of billing; the defaults are the documented ones."""

    # Stripe's price id -> tier.
    prices: Mapping[str, str] = field(default_factory=dict)
    # None: the key does not tell, so both modes are taken.
    is_live: bool | None = None
    tolerance_s: float = 300.0
    lease_s: float = 15.0
    attempts_max: int = 8
    grace_s: float = 7 * DAY_S
    # How long a duplicate waits for the delivery that works. Stripe publishes no time-out for
    # answers (2026-10); the shortest that anybody reports is 5 s.
    wait_s: float = 2.0


def best_tier(tiers: Iterable[str | None]) -> str:
    """The best of them; what is no tier counts for nothing."""
    return max((tier for tier in tiers if tier in TIERS), key=_rank, default=LEAST_TIER) or ""


def entitled_tier(subscriptions: Sequence[SubscriptionState], now: float) -> str:
    """The best tier over all subscriptions of a customer that give access at `now`."""
    return best_tier(one.tier for one in subscriptions if one.is_entitled(now))


def _rank(tier: str | None) -> int:
    return TIERS.index(tier) if tier in TIERS else -1
