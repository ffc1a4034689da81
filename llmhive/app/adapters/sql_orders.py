"""What operators said, in the database: limits of users, and orders to breakers.

Imports the limits' and the breakers' models only. Rows are few: one per user or breaker that
somebody spoke of.
"""

from __future__ import annotations

from sqlalchemy import Delete, delete, insert, select
from sqlalchemy.engine import Connection

from llmhive.app.adapters.sql_database import Database
from llmhive.app.adapters.sql_schema import breaker_orders, limit_overrides, users
from llmhive.app.breakers.model import Forced
from llmhive.app.breakers.orders import Order
from llmhive.app.limits.overrides import Override


class SqlOverrides:
    """An OverrideStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self, at: float) -> list[Override]:
        """Every override that has not ended."""
        live = select(limit_overrides).where(limit_overrides.c.ends_at > at)

        def work(connection: Connection) -> list[Override]:
            return [
                Override(row.user_id, row.requests_per_min, row.ends_at, row.revision)
                for row in connection.execute(live)
            ]

        return await self._database.read(work)

    async def put(self, override: Override) -> bool:
        """Keep it instead of what the user had; False when there is no such user."""
        values = {
            "user_id": override.user,
            "requests_per_min": override.requests_per_min,
            "ends_at": override.ends_at,
            "revision": override.revision,
        }

        def work(connection: Connection) -> bool:
            known = select(users.c.id).where(users.c.id == override.user)
            if connection.execute(known).one_or_none() is None:
                return False
            connection.execute(_of(override.user))
            connection.execute(insert(limit_overrides).values(values))
            return True

        return await self._database.run_racing(work)

    async def remove(self, user: str) -> bool:
        """Forget the user's override; False when there is none."""
        return await self._database.run(lambda c: c.execute(_of(user)).rowcount > 0)


def _of(user: str) -> Delete:
    return delete(limit_overrides).where(limit_overrides.c.user_id == user)


class SqlOrders:
    """An OrderBook."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def orders(self) -> list[Order]:
        """Every order that was given last."""

        def work(connection: Connection) -> list[Order]:
            return [
                Order(row.name, Forced(row.forced), row.reason, row.revision, row.ordered_at)
                for row in connection.execute(select(breaker_orders))
            ]

        return await self._database.read(work)

    async def put(self, order: Order) -> None:
        """Keep it instead of what was ordered before."""
        values = {
            "name": order.name,
            "forced": order.forced.value,
            "reason": order.reason,
            "revision": order.revision,
            "ordered_at": order.ordered_at,
        }

        def work(connection: Connection) -> None:
            connection.execute(delete(breaker_orders).where(breaker_orders.c.name == order.name))
            connection.execute(insert(breaker_orders).values(values))

        await self._database.run_racing(work)
