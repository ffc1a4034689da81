"""Billing's routes: bounded, keyless where Stripe delivers, the caller's own everywhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from llmhive.app.accounts.issuing import KeyIssuing
from llmhive.app.accounts.model import AccountConfig
from llmhive.app.accounts.service import AccountService
from llmhive.app.adapters.sql_accounts import SqlAccounts
from llmhive.app.adapters.sql_billing import SqlBilling
from llmhive.app.adapters.sql_database import Database
from llmhive.app.api import billing
from llmhive.app.api.application import ApiParts, Application
from llmhive.app.api.health import ServiceFacts
from llmhive.app.api.identity import Identity
from llmhive.app.api.middleware.cors import Cors
from llmhive.app.api.middleware.exchange import ExchangeMiddleware
from llmhive.app.billing.service import BillingService
from llmhive.app.telemetry.health import HealthBoard
from llmhive.tests.billing.stripe_says import (
    CONFIG,
    SECRET,
    FakeStripe,
    Heard,
    delivery,
    signed,
    subscription,
)
from llmhive.tests.fakes import FakeClock

PATH = "/api/billing/webhooks"
BYTES_MAX = 2000


class Routes:
    """Billing behind its routes."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.clock, self.heard = clock, Heard()
        self.keys = KeyIssuing(SqlAccounts(database), clock=clock)
        accounts = AccountService(SqlAccounts(database), AccountConfig(), clock=clock)
        service = BillingService(
            SqlBilling(database), FakeStripe(), [SECRET], CONFIG, clock=clock, observer=self.heard
        )
        parts = ApiParts(
            facts=ServiceFacts("here", "development", "1", "here/host-1"),
            board=HealthBoard(clock=clock),
            identity=Identity(accounts.authenticate),
            routers=(billing.router,),
            state={"billing": service, "webhook_body_bytes_max": BYTES_MAX},
        )
        self.app = Application(parts)
        transport = httpx.ASGITransport(self.app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://test")

    async def deliver(self, body: Any, path: str = PATH, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else b""
        header = signed(content, self.clock.wall()).decode()
        sent = {"stripe-signature": header, **headers}
        return await self.client.post(path, content=body, headers=sent)


@pytest.fixture
def routes(database: Database, clock: FakeClock) -> Routes:
    return Routes(database, clock)


@pytest.mark.parametrize("path", [PATH, f"{PATH}/"])
async def test_a_delivery_needs_a_signature_and_no_key(path: str, routes: Routes) -> None:
    body = delivery("customer.subscription.created", subscription())

    taken = await routes.deliver(body, path)
    refused = await routes.client.post(path, content=body)

    assert (taken.status_code, taken.json()) == (200, {"outcome": "applied"})
    assert (refused.status_code, refused.json()["code"]) == (400, "webhook_signature_invalid")


async def test_a_body_beyond_the_bound_is_refused_announced_or_not(routes: Routes) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 1000

    announced = await routes.deliver(b"x" * (BYTES_MAX + 1))
    streamed = await routes.deliver(endless())

    assert [one.status_code for one in (announced, streamed)] == [413, 413]
    assert routes.heard.rejections == ["too_large", "too_large"]


async def test_a_body_that_does_not_come_counts_as_cut_off(routes: Routes) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    board, clock = HealthBoard(clock=routes.clock), routes.clock
    app = ExchangeMiddleware(
        routes.app, served_by="x", cors=Cors([]), board=board, clock=clock, body_deadline_s=0.0
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        answer = await client.post(PATH, content=half())

    assert (answer.status_code, answer.json()["code"]) == (408, "body_late")
    assert routes.heard.rejections == ["cut_off"]


async def test_a_failed_fetch_says_when_to_come_again(routes: Routes) -> None:
    behind = delivery("customer.subscription.updated", subscription())

    answer = await routes.deliver(behind)

    assert (answer.status_code, answer.json()["code"]) == (503, "stripe_unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_the_caller_reads_their_own(routes: Routes) -> None:
    ann = routes.keys.create("ann", stripe_customer="cus_1").key
    bob = routes.keys.create("bob", tier="basic").key
    await routes.deliver(delivery("customer.subscription.created", subscription()))

    found = {
        (who, path): (
            await routes.client.get(
                f"/api/billing/{path}", headers={"authorization": f"Bearer {key}"}
            )
        ).json()
        for who, key in (("ann", ann), ("bob", bob))
        for path in ("subscription", "ledger")
    }

    told = found["ann", "subscription"]
    assert {name: told[name] for name in ("user", "tier", "status", "entitled")} == {
        "user": "ann",
        "tier": "pro",
        "status": "active",
        "entitled": True,
    }
    assert [row["kind"] for row in found["ann", "ledger"]["entries"]] == [
        "customer.subscription.created"
    ]
    assert found["bob", "ledger"] == {"entries": []}
    assert (found["bob", "subscription"]["tier"], found["bob", "subscription"]["status"]) == (
        "basic",
        None,
    )


async def test_without_a_key_nothing_is_read(routes: Routes) -> None:
    answers = [
        await routes.client.get(f"/api/billing/{path}") for path in ("subscription", "ledger")
    ]

    assert [answer.status_code for answer in answers] == [401, 401]
