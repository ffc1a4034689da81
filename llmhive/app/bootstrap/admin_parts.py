"""The operators' composition: users, limits, breakers, the lease of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmhive.app.accounts.administration import UserAdministration
from llmhive.app.accounts.issuing import KeyIssuing
from llmhive.app.accounts.run_lease import RunLeases
from llmhive.app.adapters.redis_link import RedisLink
from llmhive.app.adapters.redis_overrides import RedisOverrides, RedisUserKeys
from llmhive.app.adapters.sql_accounts import SqlAccounts
from llmhive.app.adapters.sql_database import Database
from llmhive.app.adapters.sql_orders import SqlOrders, SqlOverrides
from llmhive.app.adapters.sql_run_leases import SqlRunLeases
from llmhive.app.adapters.sql_users import SqlUsers
from llmhive.app.api import admin_breakers, admin_lease, admin_limits, admin_users
from llmhive.app.bootstrap import configurations
from llmhive.app.bootstrap.chat_parts import Worker
from llmhive.app.breakers.orders import OrderDesk, OrderFollower
from llmhive.app.breakers.service import BreakerService
from llmhive.app.limits.overrides import LimitOverrides

ROUTERS: Final = (
    admin_users.router,
    admin_users.tags_router,
    admin_limits.router,
    admin_breakers.router,
    admin_lease.router,
)


def overrides(worker: Worker, database: Database, redis: RedisLink | None) -> LimitOverrides:
    """Operators' limits of users, followed from the database."""
    found = LimitOverrides(
        SqlOverrides(database),
        clock=worker.clock,
        window_s=worker.settings.rate_limit_window_s,
        mirror=RedisOverrides(redis) if redis else None,
    )
    worker.lifetime.beside["overrides"] = found.follow_forever
    return found


def state(
    worker: Worker,
    database: Database,
    redis: RedisLink | None,
    *,
    breakers: BreakerService,
    overrides: LimitOverrides,
) -> Mapping[str, Any]:
    """What the operators' routes serve from."""
    settings, clock = worker.settings, worker.clock
    orders = SqlOrders(database)
    follower = OrderFollower(orders, breakers, clock=clock)
    worker.lifetime.beside["orders"] = follower.follow_forever
    traces = None
    if redis is not None:
        traces = RedisUserKeys(
            redis,
            prefix=settings.rate_limit_redis_prefix,
            window_s=settings.rate_limit_window_s,
        )
    return {
        "issuing": KeyIssuing(SqlAccounts(database), clock=clock),
        "administration": UserAdministration(SqlUsers(database), traces),
        "tiers": tuple(settings.rate_limit_tiers),
        "overrides": overrides,
        "breakers": breakers,
        "order_desk": OrderDesk(orders, configurations.breaker_names(settings), clock=clock),
        "order_follower": follower,
        "run_leases": RunLeases(SqlRunLeases(database), clock=clock),
    }
