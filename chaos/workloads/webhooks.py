"""Stripe as a caller: paid invoices, delivered until they are acknowledged, now and then twice.

Each customer has a subscription and gets one paid invoice after the other. What was not
acknowledged waits in the apparatus and is delivered again, as Stripe does for days; the final
read delivers what still waits. Each delivery is an operation f "deliver". Judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from chaos.experiment import Phase, Read, Workload
from verification.harness import billing, stripe_events, stripe_objects
from verification.harness import capabilities as can
from verification.harness.http_client import Http
from verification.harness.waiting import came_true, meanwhile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.apparatus import Apparatus
    from verification.harness.stripe_events import StripeEvent
    from verification.harness.stripe_objects import Subscription
    from verification.harness.users import User

# Shorter than Stripe's patience, longer than a duplicate waits for the first delivery.
DELIVERY_WITHIN_S: Final = 5.0
# Where answers are lost on their way, there is nothing to wait for.
LOST_WITHIN_S: Final = 1.0
# Of acknowledged events, so many are delivered once more, as Stripe says that it may.
DUPLICATES: Final = 0.2
SETTLED_WITHIN_S: Final = 20.0
NEEDS: Final = (can.STRIPE_SECRET, can.USERS)


def stripe_delivers(
    customers: int = 2, *, every_s: float = 0.05, proxied: bool = False, one_off: bool = False
) -> Workload:
    """Deliveries of paid invoices for so many customers.

    Takes: `proxied`, by the proxy before the service; `one_off`, invoices without a subscription,
    for which nothing has to be fetched from Stripe.
    """

    @contextmanager
    def run(apparatus: Apparatus) -> Iterator[None]:
        with ExitStack() as deliverers:
            http = deliverers.enter_context(by_the_proxy(apparatus)) if proxied else None
            for number in range(customers):
                name = f"stripe-{number}"
                user = apparatus.customer(name)
                of = None if one_off else _subscription(apparatus, user)
                act = _deliverer(apparatus, name, partial(paid, user, of), http)
                deliverers.enter_context(meanwhile(act, every_s=every_s))
            yield

    way = " by the proxy before the service" if proxied else ""
    more = ((can.PROXY,) if proxied else ()) + (() if one_off else (can.SCRIPT,))
    return Workload(
        says=f"Stripe delivers paid invoices of {customers} customers{way}, some twice",
        needs=(*NEEDS, *more),
        run=run,
    )


@contextmanager
def by_the_proxy(apparatus: Apparatus) -> Iterator[Http]:
    """HTTP to the service by the proxy before it, within what the target allows."""
    target = apparatus.target
    http = Http(
        target.proxied_url,
        on_answer=target.answers.append,
        gate=lambda method, url: target.permit(method, urlsplit(url).path),
        headers=[("host", urlsplit(target.base_url).netloc)],
    )
    try:
        yield http
    finally:
        http.close()


def _subscription(apparatus: Apparatus, user: User) -> Subscription:
    of = stripe_objects.subscription(user, plan="basic")
    apparatus.target.stripe.put(subscription=of)
    return of


def _deliverer(
    apparatus: Apparatus, name: str, fresh: Callable[[], StripeEvent], http: Http | None
) -> Callable[[], None]:
    chance, own = apparatus.chance(name), set[str]()

    def deliver_once() -> None:
        if apparatus.is_spent:
            return
        waiting = [apparatus.pending[one] for one in own & apparatus.pending.keys()]
        event = chance.choice(waiting) if waiting and chance.random() < 1 / 2 else fresh()
        own.add(event.id)
        deliver(apparatus, event, name, http=http)
        if event.id not in apparatus.pending and chance.random() < DUPLICATES:
            deliver(apparatus, event, name, http=http)

    return deliver_once


def paid(user: User, of: Subscription | None) -> StripeEvent:
    """A paid invoice of the user's subscription, or a one-off one."""
    more: dict[str, Any] = {} if of else {"subscription": None}
    return stripe_events.invoice_paid(user, invoice=stripe_objects.invoice(user, of=of, **more))


def deliver(
    apparatus: Apparatus, event: StripeEvent, process: str, *, http: Http | None = None
) -> bool:
    """Deliver an event once; it waits to be delivered again unless it was acknowledged."""
    target = apparatus.target
    apparatus.pending[event.id] = event
    is_lost = http is not None and apparatus.phase is Phase.DURING
    answer = billing.deliver(
        target,
        event,
        apparatus.history,
        process=process,
        http=http,
        timeout_s=LOST_WITHIN_S if is_lost else DELIVERY_WITHIN_S,
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
        deliver(apparatus, event, "stripe-again")
    return len(apparatus.pending)
