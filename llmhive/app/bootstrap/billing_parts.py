"""Billing's composition: the ledger in the database, Stripe over the fast transport."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmhive.app.adapters.aiohttp_transport import AiohttpTransport
from llmhive.app.adapters.sql_billing import SqlBilling
from llmhive.app.adapters.sql_database import Database
from llmhive.app.adapters.stripe_api import StripeApi
from llmhive.app.api import billing
from llmhive.app.billing.service import BillingService
from llmhive.app.bootstrap import configurations
from llmhive.app.bootstrap.chat_parts import Worker
from llmhive.app.telemetry.observers import BillingMetrics

ROUTERS = (billing.router,)


def state(worker: Worker, database: Database) -> Mapping[str, Any]:
    """What billing's routes serve from."""
    settings = worker.settings
    transport = AiohttpTransport()
    worker.lifetime.after.append(transport.aclose)
    service = BillingService(
        SqlBilling(database),
        StripeApi(
            settings.stripe_api_base,
            settings.stripe_secret_key,
            transport,
            timeout_s=settings.stripe_timeout_s,
        ),
        settings.stripe_webhook_secret,
        configurations.billing(settings),
        clock=worker.clock,
        observer=BillingMetrics(),
    )
    worker.lifetime.beside["graces"] = service.end_graces_forever
    return {"billing": service, "webhook_body_bytes_max": settings.webhook_body_bytes_max}
