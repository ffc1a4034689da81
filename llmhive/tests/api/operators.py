"""A service as operators meet it: every admin route over a real database, and two keys."""

from __future__ import annotations

from typing import Any

import httpx

from llmhive.app.accounts.administration import UserAdministration, UserTraces
from llmhive.app.accounts.issuing import KeyIssuing
from llmhive.app.accounts.model import AccountConfig
from llmhive.app.accounts.run_lease import RunLeases
from llmhive.app.accounts.service import AccountService
from llmhive.app.adapters.sql_accounts import SqlAccounts
from llmhive.app.adapters.sql_database import Database
from llmhive.app.adapters.sql_orders import SqlOrders, SqlOverrides
from llmhive.app.adapters.sql_run_leases import SqlRunLeases
from llmhive.app.adapters.sql_users import SqlUsers
from llmhive.app.api.application import ApiParts, Application
from llmhive.app.api.health import ServiceFacts
from llmhive.app.api.identity import Identity
from llmhive.app.api.middleware.cors import Cors
from llmhive.app.api.middleware.exchange import ExchangeMiddleware
from llmhive.app.bootstrap.admin_parts import ROUTERS
from llmhive.app.breakers.model import BreakerConfig
from llmhive.app.breakers.orders import OrderDesk, OrderFollower
from llmhive.app.breakers.ports import CircuitStore
from llmhive.app.breakers.service import BreakerService
from llmhive.app.limits.overrides import LimitOverrides
from llmhive.app.telemetry.health import HealthBoard
from llmhive.app.telemetry.observers import BreakerMetrics
from llmhive.tests.fakes import FakeClock

BREAKER = "openai:gpt-4o:0"
TIERS = ("free", "basic", "pro", "enterprise")


class Operators:
    """One worker's admin routes; a second worker over the same database is another of these."""

    def __init__(
        self,
        database: Database,
        clock: FakeClock,
        traces: UserTraces | None = None,
        *,
        circuits: CircuitStore | None = None,
    ) -> None:
        self.clock = clock
        self.issuing = KeyIssuing(SqlAccounts(database), clock=clock)
        self.overrides = LimitOverrides(SqlOverrides(database), clock=clock, window_s=60.0)
        self.breakers = BreakerService(
            {"openai": [BREAKER]}, BreakerConfig(), clock=clock, observer=BreakerMetrics(),
            store=circuits,
        )  # fmt: skip
        orders = SqlOrders(database)
        self.follower = OrderFollower(orders, self.breakers, clock=clock)
        accounts = AccountService(SqlAccounts(database), AccountConfig(), clock=clock)
        state = {
            "issuing": self.issuing,
            "administration": UserAdministration(SqlUsers(database), traces),
            "tiers": TIERS,
            "overrides": self.overrides,
            "breakers": self.breakers,
            "order_desk": OrderDesk(orders, ["openai", BREAKER], clock=clock),
            "order_follower": self.follower,
            "run_leases": RunLeases(SqlRunLeases(database), clock=clock),
        }
        board = HealthBoard(clock=clock)
        parts = ApiParts(
            facts=ServiceFacts("here", "development", "1", "here/host-1"),
            board=board,
            identity=Identity(accounts.authenticate),
            routers=ROUTERS,
            state=state,
        )
        app = ExchangeMiddleware(
            Application(parts), served_by="here/host-1", cors=Cors([]), board=board, clock=clock
        )
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")

    def key(self, user: str, *scopes: str) -> str:
        """A key of a user, who is made if new."""
        return self.issuing.create(user, scopes=frozenset(scopes)).key

    async def call(self, method: str, path: str, *, key: str | None = None, **sent: Any) -> Any:
        """The status and the body of one call, by an operator unless `key` is somebody else's."""
        if key is None:
            key = self.key("operator", "admin")
        headers = {"authorization": f"Bearer {key}", **sent.pop("headers", {})}
        answer = await self.client.request(method, f"/api/admin{path}", headers=headers, **sent)
        return answer.status_code, answer.json()
