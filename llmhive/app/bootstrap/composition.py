"""One worker's whole service, composed from its parts."""

from __future__ import annotations

import os
import socket

import llmhive
from llmhive.app.accounts.service import AccountService
from llmhive.app.adapters.probes import DatabaseProbe, Probes
from llmhive.app.adapters.sql_accounts import SqlAccounts
from llmhive.app.adapters.sql_database import Database
from llmhive.app.api.application import ApiParts, Application
from llmhive.app.api.health import ServiceFacts
from llmhive.app.api.identity import Identity
from llmhive.app.api.middleware.cors import Cors
from llmhive.app.api.middleware.exchange import ExchangeMiddleware
from llmhive.app.api.problem import MASKER
from llmhive.app.api.refusals import ProblemRefusals
from llmhive.app.bootstrap import admin_parts, billing_parts, chat_parts, configurations
from llmhive.app.bootstrap.chat_parts import Worker
from llmhive.app.bootstrap.service import Background, Lifetime, Service
from llmhive.app.clock import Clock, SystemClock
from llmhive.app.settings import Settings
from llmhive.app.telemetry import memory
from llmhive.app.telemetry.health import HealthBoard


def worker_name() -> str:
    """This process by host and number."""
    return f"{socket.gethostname()}-{os.getpid()}"


def build(settings: Settings, *, clock: Clock | None = None) -> Service:
    """Compose one worker's service; nothing is connected before `start`."""
    clock = clock or SystemClock()
    MASKER.learn(settings.secrets)
    board = HealthBoard(clock=clock)
    probes = Probes(board, interval_s=settings.health_probe_interval_s, clock=clock)
    worker = Worker(settings, clock, board, probes, Lifetime())
    database = _database(worker)
    accounts = AccountService(SqlAccounts(database), configurations.accounts(settings), clock=clock)
    identity = Identity(accounts.authenticate)
    redis = chat_parts.link(worker)
    overrides = admin_parts.overrides(worker, database, redis)
    limiter = chat_parts.limiter(worker, redis, overrides.requests_for)
    breakers = chat_parts.guards(worker, redis)
    parts = ApiParts(
        facts=_facts(settings),
        board=board,
        identity=identity,
        metrics_token=settings.metrics_token,
        thin=[chat_parts.route(worker, identity, limiter=limiter, breakers=breakers)],
        routers=(*billing_parts.ROUTERS, *admin_parts.ROUTERS),
        state={
            **admin_parts.state(worker, database, redis, breakers=breakers, overrides=overrides),
            **billing_parts.state(worker, database),
        },
        is_production=settings.is_production,
    )
    worker.lifetime.before.append(probes.once)
    worker.lifetime.beside |= {"probes": probes.run_forever, "memory": _memory_watch(worker)}
    cors = Cors(settings.cors_origins)
    served_by = parts.facts.served_by
    app = ExchangeMiddleware(
        Application(parts),
        served_by=served_by,
        cors=cors,
        board=board,
        clock=clock,
        body_deadline_s=settings.body_deadline_s,
    )
    return Service(app, board, ProblemRefusals(app), worker.lifetime, clock)


def _facts(settings: Settings) -> ServiceFacts:
    instance = settings.llmhive_instance
    return ServiceFacts(
        instance=instance,
        environment=settings.llmhive_environment,
        version=llmhive.__version__,
        served_by=f"{instance}/{worker_name()}",
    )


def _database(worker: Worker) -> Database:
    settings = worker.settings
    database = Database(settings.database_url, busy_timeout_s=settings.database_busy_timeout_s)
    probe = DatabaseProbe(settings.database_url)

    async def close() -> None:
        probe.close()
        database.close()

    worker.probes.watch_database(probe)
    worker.lifetime.after.append(close)
    return database


def _memory_watch(worker: Worker) -> Background:
    """Measure memory at every interval."""

    async def watch() -> None:
        while True:
            memory.measure()
            await worker.clock.sleep(worker.settings.health_probe_interval_s)

    return watch
