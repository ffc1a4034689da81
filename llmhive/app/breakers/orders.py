"""What an operator orders of a breaker: it lives in the database and wins over every timer.

Every worker reads the orders once a second and puts each new one into effect; the shared
state carries it to the others sooner. `open` and `closed` stand until the next order; an
empty one gives the breaker back to its timers, closed and clean, once, and again whenever a
shared record comes back that is still forced.
May not import adapters. Source: DESIGN.md, section 3.3; checklist, "Circuit Breaker Reset".
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol

from llmhive.app.breakers.breaker import BreakerView
from llmhive.app.breakers.model import Forced
from llmhive.app.clock import Clock
from llmhive.app.errors import CallerError, DependencyError

# A fifth of the 5 s within which every worker must follow; a reading costs one small query.
FOLLOW_EVERY_S: Final = 1.0
REASON_LENGTH_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Order:
    """The operator's last word on a breaker; `revision` is random and tells it from the next."""

    name: str
    forced: Forced
    reason: str
    revision: str
    ordered_at: float


class OrderBook(Protocol):
    """Where orders are kept, one per breaker. All methods raise DependencyError."""

    async def orders(self) -> list[Order]:
        """Every order that was given last."""

    async def put(self, order: Order) -> None:
        """Keep it instead of what was ordered before."""


class Breakers(Protocol):
    """What orders are put into effect on: one worker's breakers."""

    def states(self) -> dict[str, BreakerView]:
        """How every breaker stands."""

    def force(self, name: str, forced: Forced, reason: str, *, epoch: str | None = None) -> None:
        """Open or close a breaker until told otherwise; `Forced.NO` starts it afresh, closed."""


class OrderDesk:
    """Where operators give orders: to anybody who knows the breakers' names."""

    def __init__(self, book: OrderBook, names: Collection[str], *, clock: Clock) -> None:
        self._book = book
        self._names = names
        self._clock = clock

    async def give(self, name: str, forced: Forced, reason: str) -> Order:
        """Order a breaker open, closed, or back to its timers.

        Raises: CallerError (404, definite) for an unknown name, with the known ones;
        DependencyError.
        """
        if name not in self._names:
            known = ", ".join(sorted(self._names)) or "none"
            detail = f"There is no breaker of that name; known: {known}."
            raise CallerError(detail, code="not_found", http_status=404)
        reason = reason[:REASON_LENGTH_MAX]
        order = Order(name, forced, reason, secrets.token_hex(8), self._clock.wall())
        await self._book.put(order)
        return order

    async def orders(self) -> list[Order]:
        """Every order that was given last."""
        return await self._book.orders()


class OrderFollower:
    """Puts orders into effect on one worker's breakers."""

    def __init__(self, book: OrderBook, breakers: Breakers, *, clock: Clock) -> None:
        self._book = book
        self._breakers = breakers
        self._clock = clock
        self._followed: dict[str, str] | None = None

    async def follow(self) -> None:
        """Read the database once; without it everything stays as it was ordered."""
        # Looked at first: a breaker may be forced by an order that is younger than those read.
        views = self._breakers.states()
        try:
            orders = await self._book.orders()
        except DependencyError:
            return
        for order in orders:
            if order.name in views and self._is_due(order, views[order.name]):
                reason = order.reason or "ordered"
                self._breakers.force(order.name, order.forced, reason, epoch=order.revision)
        self._followed = {order.name: order.revision for order in orders}

    def _is_due(self, order: Order, view: BreakerView) -> bool:
        """Whether the breaker is to be moved: the order is news, or is not kept any more."""
        if order.forced or view.forced:
            return view.forced is not order.forced
        # What was given back to its timers before this worker began is history.
        return self._followed is not None and self._followed.get(order.name) != order.revision

    async def follow_forever(self) -> None:
        """Keep this worker's breakers as they were ordered."""
        while True:
            await self.follow()
            await self._clock.sleep(FOLLOW_EVERY_S)
