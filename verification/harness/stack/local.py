"""A whole stack on this machine: Redis, simulators, Toxiproxy before each, and the service.

Proxies and service belong to one configuration; Toxiproxy and the pools of Redis and of
simulators to the worker. Everything listens on loopback.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import redis

from verification.harness import metrics_view, reach
from verification.harness.faults import Faults
from verification.harness.http_client import Http
from verification.harness.metrics_view import MetricsUnreadableError
from verification.harness.processes import keeper
from verification.harness.redis_view import RedisView
from verification.harness.service_logs import ServiceLogs
from verification.harness.stack import defaults
from verification.harness.stack.model import Stack, StackError
from verification.harness.stack.prepared_data import PreparedData
from verification.harness.stack.redis_pool import RedisPool
from verification.harness.stack.service import Service, merged, new_instance
from verification.harness.stack.simulators import Trio, TrioPool
from verification.harness.toxiproxy_link import Link, Toxiproxy, ToxiproxyError
from verification.harness.waiting import came_true

if TYPE_CHECKING:
    from verification.harness.stack.backend import Backend
    from verification.harness.stack.configuration import Configuration
    from verification.harness.stack.servers import RedisServer

# A service that is not well by then, with nothing wrong around it, is restarted.
STEADY_WITHIN_S: Final = 1.0
CALLS: Final = "llmhive_circuit_calls_total"
RETRIES: Final = "llmhive_retries_total"
REMEMBERED: Final = ("failure", "rejected")
# A supervisor lets the fourth worker in a row that lived for seconds only wait for 0.4 s.
REPLACEMENTS_MAX: Final = 3
# Set where the coverage of the service is measured; coverage.py reads it in each process.
COVERAGE: Final = "COVERAGE_PROCESS_START"
# Set to so much, neither breakers nor retry budgets come to an end within a run of the suite.
INEXHAUSTIBLE: Final = 1000
HARD_TO_EXHAUST: Final = ("BREAKER_MIN_FAILURES", "RETRY_BUDGET_START")
HTTP_PROBE: Final = "GET {} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"
PROBES: Final = {
    "redis": b"PING\r\n",
    "openai": HTTP_PROBE.format("/_control/identity").encode(),
    "anthropic": HTTP_PROBE.format("/_control/identity").encode(),
    "stripe": HTTP_PROBE.format("/_control/identity").encode(),
    "service": HTTP_PROBE.format("/api/health/live").encode(),
}


@dataclass(slots=True)
class LiveStack:
    """A running stack and what it takes to renew and end it."""

    stack: Stack
    service: Service
    redis: RedisServer
    links: dict[str, Link]
    trio: Trio
    folder: Path
    is_troubled: bool = False
    """Workers remember trouble of the last claim."""
    troubles: tuple[int, float] = (0, 0.0)
    """A supervisor's process id, and what was counted of trouble when its worker was new."""
    replacements: int = 0
    """How often the worker of this supervisor was replaced."""

    def begin_claim(self) -> None:
        """Make it as good as new for the next claim: no rules, calls, faults or old log lines.

        What the workers remember ends with them; what the supervisor went through takes a restart.
        Raises: ServiceDidNotStartError when the service has to be restarted and does not start.
        """
        for simulator in (*self.stack.providers.values(), self.stack.stripe):
            simulator.clear()
            simulator.was_disturbing = False
        self.stack.faults.heal_all()
        self.stack.faults.log.clear()
        is_worn = self.stack.is_tired or not self.service.is_running
        if is_worn or not self._has_forgotten() or not self._is_steady():
            self._restart()
        self.stack.logs.begin()

    def end_claim(self) -> list[str]:
        """Heal whatever the claim left, and give the names of the links that it left ill."""
        if left := self.stack.faults.left_over():
            self.stack.faults.heal_all()
        providers = self.stack.providers
        disturbed = {entry["link"] for entry in self.stack.faults.log} & set(providers)
        disturbed |= {name for name, one in providers.items() if one.was_disturbing}
        if disturbed:
            self._look_for_trouble()
        return left

    def _look_for_trouble(self) -> None:
        counted = self._count_trouble()
        pid, before = self.troubles
        if counted is None:
            self.stack.is_tired = True
        elif counted != (before if pid == self.service.pid else 0):
            self.is_troubled = True

    def _count_trouble(self) -> float | None:
        """How much breakers and retry budgets have had to remember; None when it is not known.

        Everything else (Redis, Stripe, the database) is forgotten as soon as it is well again.
        """
        try:
            http = Http(self.stack.base_url)
            metrics = metrics_view.settled(lambda: self.stack.metrics.read(http))
        except MetricsUnreadableError:
            return None
        counted = metrics.sum(CALLS, outcome="cool_down")
        if not self._is_inexhaustible:
            counted += metrics.sum(RETRIES)
            counted += sum(metrics.sum(CALLS, outcome=outcome) for outcome in REMEMBERED)
        return counted

    @property
    def _is_inexhaustible(self) -> bool:
        settings = self.stack.settings
        return all(float(settings.get(name, "0")) >= INEXHAUSTIBLE for name in HARD_TO_EXHAUST)

    def _has_forgotten(self) -> bool:
        """No worker remembers trouble: there was none, or another has taken its place.

        A supervisor that has just replaced some takes its time with the next. So it replaces a
        few at most, and none where claims kill workers: there are several then.
        """
        if not self.is_troubled:
            return True
        is_measured = COVERAGE in os.environ  # which a killed worker could not write down
        if is_measured or self.stack.worker_count > 1 or self.replacements >= REPLACEMENTS_MAX:
            return False
        if not self.service.replace_workers(self._empty_redis):
            return False
        counted = self._count_trouble()
        self.troubles = self.service.pid, counted or 0
        self.replacements += 1
        self.is_troubled = False
        return counted is not None

    def _empty_redis(self) -> None:
        self.stack.redis.disconnect_others()
        self.stack.redis.flush()

    def _restart(self) -> None:
        self.service.stop()
        self.stack.redis.flush()
        self.service.start()
        self.stack.is_tired = self.is_troubled = False
        self.replacements = 0

    def _is_steady(self) -> bool:
        """Whether every worker says that all is well: each looks at Redis and providers itself."""
        return came_true(self._is_well_everywhere, within_s=STEADY_WITHIN_S)

    def _is_well_everywhere(self) -> bool:
        http, wanted = Http(self.stack.base_url), self.stack.worker_count
        answers = reach.each_workers(http, "/api/health", wanted, within_s=STEADY_WITHIN_S)
        states = [(answer.json() or {}).get("status") for answer in answers.values()]
        return states == ["ok"] * wanted

    @property
    def is_usable(self) -> bool:
        """Another claim of the same configuration may have it."""
        if self.stack.is_spoilt or not self.trio.is_alive:
            return False
        if not all(link.server.is_alive for link in self.links.values()):
            return False
        try:
            self.stack.redis.time_s()
        except redis.RedisError:
            return False
        return True

    def close(self) -> None:
        """End the service, remove its proxies."""
        self.service.end()
        with suppress(ToxiproxyError):  # it may have died; its proxies with it
            for link in self.links.values():
                link.close()
        self.stack.redis.close()


class LocalStacks:
    """Builds stacks for one worker process on one backend.

    Takes: `shared` is a folder for what one worker makes for all, None: this worker has its own.
    """

    def __init__(
        self, backend: Backend, *, run_id: str, worker: str, shared: Path | None = None
    ) -> None:
        self.backend = backend
        self.run_id = run_id
        self.worker = worker
        self.folder = Path(tempfile.mkdtemp(prefix="llmhive-vfy-"))
        keeper().remove_at_end(self.folder)
        self._redises = RedisPool(backend, self.folder)
        self._trios = TrioPool(self.folder)
        self._prepared = PreparedData(self.folder, shared or self.folder)
        self._toxiproxy: Toxiproxy | None = None

    @property
    def toxiproxy(self) -> Toxiproxy:
        """This worker's Toxiproxy, started on first use, and again when it has died."""
        if self._toxiproxy is None or not self._toxiproxy.is_alive:
            self._toxiproxy = self.backend.start_toxiproxy(self.folder)
        return self._toxiproxy

    def build(self, wanted: Configuration) -> LiveStack:
        """A whole stack of that configuration, its service ready.

        Raises: StackError, after what was started for it has been ended.
        """
        canaries = defaults.new_canaries()
        folder = Path(tempfile.mkdtemp(prefix=f"{wanted.id}-", dir=self.folder))
        redis_server = self._redises.take(canaries.redis_password)
        trio = self._trios.take()
        links = self._open_links(folder.name, redis_server, trio)
        urls = {name: f"http://{link.host}:{link.port}" for name, link in links.items()}
        given = defaults.settings(
            canaries, redis_url=redis_server.url_at(links["redis"].port), urls=urls
        )
        own = {"LLMHIVE_INSTANCE": new_instance(), "LLMHIVE_DATA_DIR": str(folder / "data")}
        settings = merged({**given, **own}, dict(wanted.env))
        stack = self._stack(settings, wanted)
        stack.proxied_url = urls["service"]
        stack.providers, stack.stripe = trio.providers(canaries), trio.stripe(canaries.stripe)
        stack.redis, stack.faults = RedisView(redis_server.url), Faults(links)
        stack.database_file = folder / "data" / "llmhive.db"
        service = Service(stack, folder, settings, links["service"])
        stack.control = stack.shell = stack.users = service
        live = LiveStack(stack, service, redis_server, links, trio, folder)
        try:
            if key := self._prepared.copy_into(service.data, settings):
                service.know_operator(key)
            service.start()
        except StackError:
            self.end(live)
            raise
        return live

    def _stack(self, settings: dict[str, str], wanted: Configuration) -> Stack:
        stack = Stack(
            kind=self.backend.kind,
            run_id=f"{self.run_id}-{self.worker}",
            base_url="",
            instance=settings["LLMHIVE_INSTANCE"],
            environment="",
            capabilities=defaults.capabilities(),
            worker_count=wanted.workers,
            prices=defaults.PRICES,
            versions=self.backend.versions,
            provider_names=defaults.PROVIDERS,
            logs=ServiceLogs(),
        )
        defaults.adopt(stack, settings)
        return stack

    def _open_links(self, prefix: str, redis_server: RedisServer, trio: Trio) -> dict[str, Link]:
        upstreams = {name: trio.address(name) for name in trio.ports}
        upstreams["redis"] = f"127.0.0.1:{redis_server.port}"
        upstreams["service"] = "127.0.0.1:1"  # nobody yet; aimed when the service listens
        links = {
            name: Link(name, self.toxiproxy, upstream=upstream, probe=PROBES[name])
            for name, upstream in upstreams.items()
        }
        for name, link in links.items():
            link.open(f"{prefix}-{name}")
        return links

    def end(self, live: LiveStack) -> None:
        """End one stack and keep its Redis and its simulators for the next."""
        live.close()
        self._redises.give_back(live.redis)
        self._trios.give_back(live.trio)

    def close(self) -> None:
        """End what the worker's stacks share."""
        self.backend.close()
