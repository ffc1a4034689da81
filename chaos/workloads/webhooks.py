"""Stripe as a caller: paid invoices, delivered until they are acknowledged, now and then twice.

Each customer has a subscription and gets one paid invoice after the other. What was not
acknowledged waits in the apparatus and is delivered again, as Stripe does for days; the final
read delivers what still waits. Each delivery is an operation f "deliver". Judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from chaos.experiment import Read, Workload
from verification.harness import billing, stripe_events, stripe_objects
from verification.harness import capabilities as can
from verification.harness.waiting import came_true, meanwhile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.apparatus import Apparatus
    from verification.harness.stripe_events import StripeEvent
    from verification.harness.stripe_objects import Subscription
    from verification.harness.users import User

# Shorter than Stripe's, longer than any answer on loopback.
DELIVERY_WITHIN_S: Final = 1.5
# Of acknowledged events, so many are delivered once more, as Stripe says that it may.
DUPLICATES: Final = 0.2
SETTLED_WITHIN_S: Final = 20.0
NEEDS: Final = (can.STRIPE_SECRET, can.USERS, can.SCRIPT)


def stripe_delivers(
    customers: int = 2, *, every_s: float = 0.05, proxied: bool = False
) -> Workload:
    """Deliveries of paid invoices for so many customers; `proxied`: by the service's own proxy."""

    @contextmanager
    def run(apparatus: Apparatus) -> Iterator[None]:
        with ExitStack() as deliverers:
            for number in range(customers):
                act = _deliverer(apparatus, f"stripe-{number}", proxied=proxied)
                deliverers.enter_context(meanwhile(act, every_s=every_s))
            yield

    way = " by the service's proxy" if proxied else ""
    return Workload(
        says=f"Stripe delivers paid invoices of {customers} customers{way}, some twice",
        needs=(*NEEDS, can.FAULTS) if proxied else NEEDS,
        run=run,
    )


def _deliverer(apparatus: Apparatus, name: str, *, proxied: bool) -> Callable[[], None]:
    target, chance = apparatus.target, apparatus.chance(name)
    user = apparatus.customer(name)
    of = stripe_objects.subscription(user, plan="basic")
    target.stripe.put(subscription=of)

    def deliver_once() -> None:
        if apparatus.is_spent:
            return
        waiting = [one for one in apparatus.pending.values() if one.user == user.id]
        event = chance.choice(waiting) if waiting and chance.random() < 1 / 2 else _paid(user, of)
        deliver(apparatus, event, name, proxied=proxied)
        if event.id not in apparatus.pending and chance.random() < DUPLICATES:
            deliver(apparatus, event, name, proxied=proxied)

    return deliver_once


def _paid(user: User, of: Subscription) -> StripeEvent:
    invoice = stripe_objects.invoice(user, of=of)
    return stripe_events.invoice_paid(user, invoice=invoice)


def deliver(apparatus: Apparatus, event: StripeEvent, process: str, *, proxied: bool) -> bool:
    """Deliver an event once; it waits to be delivered again unless it was acknowledged."""
    target = apparatus.target
    apparatus.pending[event.id] = event
    answer = billing.deliver(
        target,
        event,
        apparatus.history,
        process=process,
        http=target.proxied_http if proxied else None,
        timeout_s=DELIVERY_WITHIN_S,
    )
    if 200 <= answer.status < 300 and answer.is_complete:  # noqa: PLR2004  HTTP's own
        apparatus.pending.pop(event.id, None)
        return True
    return False


def everything_delivered() -> Read:
    """Deliver what still waits until it is acknowledged, then read every customer's ledger."""

    def take(apparatus: Apparatus) -> None:
        came_true(lambda: not _redeliver(apparatus), within_s=SETTLED_WITHIN_S, every_s=0.2)
        for user in apparatus.customers:
            billing.read_ledger(apparatus.target, user, apparatus.history, process="reader")

    return Read(says="what waits is delivered; the ledgers", needs=NEEDS, take=take)


def _redeliver(apparatus: Apparatus) -> int:
    """Deliver each waiting event once; how many wait still."""
    for event in list(apparatus.pending.values()):
        deliver(apparatus, event, "stripe-again", proxied=False)
    return len(apparatus.pending)
