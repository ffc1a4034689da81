"""What `llmhive limits`, `breakers` and `users` do: the database is told, every worker follows.

The service need not run; workers that do follow within 5 s. Redis is only asked how breakers
stand and cleared of deleted users, and may be away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from llmhive.app.accounts.administration import UserAdministration
from llmhive.app.adapters.redis_circuits import RedisCircuitStore
from llmhive.app.adapters.redis_link import RedisLink
from llmhive.app.adapters.redis_overrides import RedisUserKeys
from llmhive.app.adapters.sql_database import Database
from llmhive.app.adapters.sql_migrations import is_migrated
from llmhive.app.adapters.sql_orders import SqlOrders, SqlOverrides
from llmhive.app.adapters.sql_users import SqlUsers
from llmhive.app.bootstrap import configurations
from llmhive.app.breakers import model
from llmhive.app.breakers.model import CircuitRecord, Forced
from llmhive.app.breakers.orders import OrderDesk
from llmhive.app.breakers.ports import CircuitStoreError
from llmhive.app.clock import SystemClock
from llmhive.app.errors import CallerError
from llmhive.app.limits.overrides import LimitOverrides
from llmhive.app.settings import Settings
from llmhive.key_commands import LOCK_WAIT_S

Told = dict[str, Any]

CLOCK: Final = SystemClock()
# A command by hand may wait for a slow Redis; a request may not.
REDIS_WAIT_S: Final = 2.0
ORDERS: Final = {
    "force-open": Forced.OPEN,
    "force-close": Forced.CLOSED,
    "reset": Forced.NO,
}


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.database_url, busy_timeout_s=LOCK_WAIT_S)
    try:
        if not await database.read(is_migrated):
            raise CallerError("The database is not up to date: run `llmhive migrate` first.")
        yield database
    finally:
        database.close()


@asynccontextmanager
async def _redis(settings: Settings) -> AsyncIterator[RedisLink | None]:
    """The link to Redis, None without one."""
    if not settings.redis_url:
        yield None
        return
    link = RedisLink(settings.redis_url, max_connections=1, deadline_s=REDIS_WAIT_S)
    try:
        yield link if await link.open() else None
    finally:
        await link.close()


# -- limits


def _overrides(settings: Settings, database: Database) -> LimitOverrides:
    window_s = settings.rate_limit_window_s
    return LimitOverrides(SqlOverrides(database), clock=CLOCK, window_s=window_s)


async def set_limit(
    settings: Settings, *, user: str, requests_per_min: int, lasts_s: float
) -> Told:
    """Grant a user so many requests per minute for a while."""
    async with _database(settings) as database:
        kept = await _overrides(settings, database).put(
            user, requests_per_min=requests_per_min, lasts_s=lasts_s
        )
    return {"user": user, "requests_per_min": kept.requests_per_min, "ends_at": kept.ends_at}


async def clear_limit(settings: Settings, *, user: str) -> Told:
    """Give a user back to the tier's limits."""
    async with _database(settings) as database:
        await _overrides(settings, database).remove(user)
    return {"user": user, "removed": True}


async def list_limits(settings: Settings) -> Told:
    """Every override that stands."""
    async with _database(settings) as database:
        standing = await _overrides(settings, database).standing()
    rows = [
        {"user": each.user, "requests_per_min": each.requests_per_min, "ends_at": each.ends_at}
        for each in standing
    ]
    return {"overrides": rows}


# -- orders to breakers


async def order_breaker(settings: Settings, *, name: str, action: str, reason: str) -> Told:
    """Force a breaker open or closed until told otherwise, or reset it."""
    names = configurations.breaker_names(settings)
    async with _database(settings) as database:
        desk = OrderDesk(SqlOrders(database), names, clock=CLOCK)
        order = await desk.give(name, ORDERS[action], reason)
    return {"name": name, "forced": order.forced.value or None, "reason": order.reason}


async def list_breakers(settings: Settings) -> Told:
    """Every breaker: how it stands in the shared state, and what was ordered."""
    names = configurations.breaker_names(settings)
    async with _database(settings) as database:
        orders = {order.name: order for order in await SqlOrders(database).orders()}
    records = await _shared_records(settings, names)
    rows = [
        {
            "name": name,
            "state": _state(records, name),
            "ordered": (orders[name].forced.value or None) if name in orders else None,
            "reason": orders[name].reason if name in orders else "",
        }
        for name in names
    ]
    return {"breakers": rows}


async def _shared_records(
    settings: Settings, names: list[str]
) -> dict[str, CircuitRecord | None] | None:
    """The shared records by name, None when Redis is away or there is none."""
    async with _redis(settings) as redis:
        if redis is None:
            return None
        store = RedisCircuitStore(redis, CLOCK, configurations.breakers(settings))
        try:
            return dict(zip(names, await store.look(names), strict=True))
        except CircuitStoreError:
            return None


def _state(records: dict[str, CircuitRecord | None] | None, name: str) -> str:
    """How a breaker stands; nobody has spoken of one without a record, so it is closed."""
    if records is None:
        return "unknown"
    record = records[name]
    return model.phase(record, CLOCK.monotonic()).value if record else "closed"


# -- users


async def delete_users(settings: Settings, *, user: str | None, tag: str | None) -> Told:
    """Delete one user, or all of a tag, with everything that is theirs."""
    deleted, rows, keys = 0, dict[str, int](), 0
    async with _database(settings) as database, _redis(settings) as redis:
        administration = UserAdministration(SqlUsers(database), _traces(settings, redis))
        while True:
            done = await (
                administration.delete(user)
                if user is not None
                else administration.delete_tagged(tag or "")
            )
            deleted += len(done.deleted.users)
            for name, count in done.deleted.rows.items():
                rows[name] = rows.get(name, 0) + count
            keys += done.traces or 0
            if not done.deleted.left:
                is_out_of_reach = redis is None and bool(settings.redis_url)
                return {
                    "deleted": deleted,
                    "rows": rows,
                    "redis_keys": None if is_out_of_reach else keys,
                }


def _traces(settings: Settings, redis: RedisLink | None) -> RedisUserKeys | None:
    if redis is None:
        return None
    prefix, window_s = settings.rate_limit_redis_prefix, settings.rate_limit_window_s
    return RedisUserKeys(redis, prefix=prefix, window_s=window_s)


COMMANDS: Final[Mapping[str, Callable[..., Coroutine[Any, Any, Told]]]] = {
    "limits set": set_limit,
    "limits clear": clear_limit,
    "limits list": list_limits,
    "breakers list": list_breakers,
    **{f"breakers {action}": partial(order_breaker, action=action) for action in ORDERS},
    "users delete": delete_users,
}


def run(settings: Settings, command: str, given: Mapping[str, Any]) -> Told:
    """Run a command to its end and give what is to be told.

    Raises: CallerError, DatabaseError.
    """
    return asyncio.run(COMMANDS[command](settings, **given))
