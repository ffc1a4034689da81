"""The composition root: the one module that names concrete adapters.

Settings become the features' own configurations here, and nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import llmhive
from llmhive.app.accounts.model import AccountConfig
from llmhive.app.accounts.service import AccountService
from llmhive.app.adapters.probes import DatabaseProbe, Probes
from llmhive.app.adapters.sql_accounts import SqlAccounts
from llmhive.app.adapters.sql_database import Database
from llmhive.app.api.application import ApiParts, App, Application
from llmhive.app.api.health import ServiceFacts
from llmhive.app.api.identity import Identity
from llmhive.app.api.middleware.cors import Cors
from llmhive.app.api.middleware.exchange import ExchangeMiddleware
from llmhive.app.api.problem import MASKER
from llmhive.app.api.refusals import ProblemRefusals
from llmhive.app.clock import Clock, SystemClock
from llmhive.app.settings import Settings
from llmhive.app.telemetry import log, memory
from llmhive.app.telemetry.health import HealthBoard

# A background task that broke is begun again, but not in a circle that burns a core.
RESTART_S: Final = 1.0

Background = Callable[[], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class Service:
    """One worker's service: the app, and what runs behind it."""

    app: App
    board: HealthBoard
    refusals: ProblemRefusals
    clock: Clock
    before: list[Background] = field(default_factory=list)
    background: dict[str, Background] = field(default_factory=dict)
    after: list[Background] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        """Open what has to be open before the first request, and start what runs beside."""
        await asyncio.gather(*(step() for step in self.before))
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._keep(name, work), name=name)
            for name, work in self.background.items()
        ]

    async def stop(self) -> None:
        """End what runs beside, and close what is open."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for step in self.after:
            await step()

    async def _keep(self, name: str, work: Background) -> None:
        """Run background work for ever; what breaks is told and begun again."""
        while True:
            try:
                return await work()
            except Exception as error:  # noqa: BLE001  the background supervisor
                log.failure("background_failed", error, task=name)
            await self.clock.sleep(RESTART_S)


def worker_name() -> str:
    """This process by host and number."""
    return f"{socket.gethostname()}-{os.getpid()}"


def build(settings: Settings, *, clock: Clock | None = None) -> Service:
    """Compose one worker's service; nothing is connected before `start`."""
    clock = clock or SystemClock()
    MASKER.learn(settings.secrets)
    served_by = f"{settings.llmhive_instance}/{worker_name()}"
    board = HealthBoard(clock=clock)
    database = Database(settings.database_url, busy_timeout_s=settings.database_busy_timeout_s)
    accounts = AccountService(SqlAccounts(database), account_config(settings), clock=clock)
    probes = Probes(board, interval_s=settings.health_probe_interval_s, clock=clock)
    parts = ApiParts(
        facts=ServiceFacts(
            settings.llmhive_instance,
            settings.llmhive_environment,
            llmhive.__version__,
            served_by,
        ),
        board=board,
        identity=Identity(accounts.authenticate),
        metrics_token=settings.metrics_token,
        is_production=settings.is_production,
    )
    cors = Cors(settings.cors_origins)
    app = ExchangeMiddleware(
        Application(parts), served_by=served_by, cors=cors, board=board, clock=clock
    )
    service = Service(app, board, ProblemRefusals(app), clock)
    _add_probes(service, settings, probes, database)
    return service


def account_config(settings: Settings) -> AccountConfig:
    """The numbers of key lookups."""
    return AccountConfig(
        cache_s=settings.key_cache_s,
        stale_s=settings.key_cache_stale_s,
        tiers=tuple(settings.rate_limit_tiers),
    )


def _add_probes(service: Service, settings: Settings, probes: Probes, database: Database) -> None:
    """Wire the background checks: once before the first request, then for ever."""
    probe = DatabaseProbe(settings.database_url)
    probes.watch_database(probe)
    for provider in settings.llm_providers:
        if settings.provider_key(provider):
            probes.watch_provider(provider, getattr(settings, f"{provider}_base_url"))
            service.board.has_provider = True

    async def measure() -> None:
        while True:
            memory.measure()
            await service.clock.sleep(settings.health_probe_interval_s)

    async def close() -> None:
        probe.close()
        database.close()

    service.before.append(probes.once)
    service.background |= {"probes": probes.run_forever, "memory": measure}
    service.after.append(close)
