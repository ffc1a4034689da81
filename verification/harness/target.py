"""The one thing that every claim talks to: a service, and what stands around it.

A claim cannot tell how its target came to be (processes, containers, a target file); it
states its needs, and what a target lacks raises MissingCapabilityError. Everything that a
claim makes carries the run's id. May import harness modules; suites import this.
"""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verification.harness import capabilities as can
from verification.harness import chat_result, clock, database, metrics_view, reach, traces
from verification.harness.chat_result import ChatResult
from verification.harness.http_client import Answer, Http
from verification.harness.processes import resident_bytes
from verification.harness.stack.model import MissingCapabilityError, ProcessControl, Stack
from verification.harness.users import User
from verification.harness.waiting import came_true, now_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from verification.harness.faults import Faults
    from verification.harness.metrics_view import Metrics
    from verification.harness.processes import Finished
    from verification.harness.redis_view import RedisView
    from verification.harness.simulated import SimulatedProvider, SimulatedStripe
    from verification.history import History

__all__ = ["Answer", "ChatResult", "MissingCapabilityError", "Target", "User"]

# A start of the service on a busy machine of two cores, with a margin.
START_WITHIN_S = 20.0
# The service gathers lines for some ms; of a worker that was killed the last may never come.
LOGGED_WITHIN_S = 2.0

# Over all claims of this xdist worker, since they share databases and Redis.
_NUMBERS = itertools.count(1)


class Target:
    """A service under judgement. Safe to use from several threads."""

    def __init__(self, stack: Stack, *, claim_id: str = "") -> None:
        self._stack = stack
        self.claim_id = claim_id
        self.answers: list[Answer] = []
        """Every answer that came through this target, for evidence and the scan for leaks."""
        self.users: list[User] = []
        """Every user that this target made or lent."""
        self._lock = threading.Lock()
        self._https: dict[str, Http] = {}

    # What it is

    @property
    def base_url(self) -> str:
        """The service's own origin. Changes when the service is restarted."""
        return self._stack.base_url

    @property
    def proxied_url(self) -> str:
        """The same service through Toxiproxy (link "service"). Stays across restarts."""
        return self._stack.need(can.PROXY).proxied_url

    @property
    def instance(self) -> str:
        """What health must say as `instance`: the nonce that was given to it, or the pin."""
        return self._stack.instance

    @property
    def environment(self) -> str:
        """What health must say as `environment`."""
        return self._stack.environment

    @property
    def capabilities(self) -> frozenset[str]:
        """What this target can do; names from harness/capabilities.py."""
        return self._stack.capabilities

    @property
    def run_id(self) -> str:
        """In the id of everything that this run makes."""
        return self._stack.run_id

    @property
    def workers_wanted(self) -> int:
        """How many worker processes the service was asked to run."""
        return self._stack.worker_count

    @property
    def settings(self) -> Mapping[str, str]:
        """The environment variables that the service was started with."""
        return self._stack.settings

    @property
    def canaries(self) -> Mapping[str, str]:
        """Every secret that the service was given or gave out: variable or user id -> secret."""
        self._stack.need(can.CANARIES)
        return self.secrets

    @property
    def secrets(self) -> Mapping[str, str]:
        """Every secret that the suite knows, by name: what no evidence may show."""
        keys = {user.key_name: user.key for user in self.users}
        return {**self._stack.secrets, **keys}

    @property
    def prices(self) -> Mapping[str, str]:
        """Tier -> the Stripe price that the service knows for it."""
        return self._stack.prices

    @property
    def webhook_secret(self) -> str:
        """The secret that signs Stripe's events; the first one when several are configured."""
        return self._stack.need(can.STRIPE_SECRET).webhook_secret

    @property
    def providers(self) -> tuple[str, ...]:
        """The chat providers in the order in which the service was told to try them."""
        return self._stack.provider_names

    # Users

    def name(self, what: str = "user") -> str:
        """A fresh id of this run: `vfy-<run>-<worker>-<what>-<n>`, unlike any other."""
        return f"vfy-{self.run_id}-{what}-{next(_NUMBERS)}"

    def new_user(self, tier: str = "free", *, named: str | None = None) -> User:
        """A user of their own with a key, made by `llmhive keys create` (remote: lent).

        Takes: `named`, an id of the claim's own choice; one that exists gets another key.
        """
        return self._make_user(tier, customer=None, named=named)

    def new_customer(self, tier: str = "free") -> User:
        """A user with a key and a Stripe customer (`.customer`) tied to them."""
        return self._make_user(tier, customer="cus_" + self.name("customer"))

    def _make_user(self, tier: str, *, customer: str | None, named: str | None = None) -> User:
        source = self._stack.need(can.USERS).users
        user = source.make(named or self.name(), tier=tier, customer=customer)
        with self._lock:
            self.users.append(user)
        return user

    def operator(self) -> User:
        """Who holds the key with scope `admin`; needs ADMIN."""
        operator = User(id="operator", key=self._stack.need(can.ADMIN).users.operators_key())
        with self._lock:
            self.users.append(operator)  # so that no evidence shows the key
        return operator

    # HTTP

    @property
    def http(self) -> Http:
        """HTTP straight to the service, a fresh connection per request."""
        return self._http_to(self._stack.base_url)

    @property
    def proxied_http(self) -> Http:
        """HTTP to the service through Toxiproxy."""
        return self._http_to(self.proxied_url)

    def _http_to(self, url: str) -> Http:
        remote = self._stack.kind == "remote"
        with self._lock:
            if url not in self._https:
                self._https[url] = Http(
                    url, on_answer=self._heard, gate=self._stack.gate, trust_env=remote
                )
            return self._https[url]

    def permit(self, method: str, path: str) -> None:
        """Count a request that another program sends to `base_url`, before it does.

        Raises: RunEndedError or ForeignTargetError when it must not go out.
        """
        if self._stack.gate is not None:
            self._stack.gate(method, self.base_url + path)

    def _heard(self, answer: Answer) -> None:
        self.answers.append(answer)
        if self._stack.gate is not None:
            self._stack.gate.heard(answer)

    def chat(
        self,
        user: User | None,
        message: str | None,
        *,
        history: History | None = None,
        stream: bool = False,
        process: str | None = None,
        timeout_s: float = 30.0,
        http: Http | None = None,
        headers: Mapping[str, str] | None = None,
        leave_when: Callable[[bytes], object] | None = None,
        **body: object,
    ) -> ChatResult:
        """POST /api/chat as `user` (None: without a key); records Operation f="chat".

        Takes: `message` None leaves it out; `**body` adds or replaces fields; `http` another
        way to the service (a kept connection, the proxy); `leave_when` and a time-out hang up.
        Gives: the result, also of a refusal or a broken connection; never raises for those.
        """
        sent: dict[str, object] = {} if message is None else {"message": message}
        sent |= {"stream": True} if stream else {}
        answer = (http or self.http).post(
            "/api/chat",
            json=sent | body,
            key=user.key if user else None,
            headers=headers,
            timeout_s=timeout_s,
            leave_when=leave_when,
        )
        return chat_result.recorded(answer, user, history=history, process=process)

    def health(self) -> dict[str, Any]:
        """The body of GET /api/health, {} when it is no JSON object."""
        body = self.http.get("/api/health").json()
        return body if isinstance(body, dict) else {}

    def component(self, name: str) -> dict[str, Any]:
        """One component of health (`redis`, `provider:openai`, …), {} when it is not named."""
        found = self.health().get("components", {}).get(name, {})
        return found if isinstance(found, dict) else {}

    def metrics(self) -> Metrics:
        """The metrics now, summed over all workers."""
        return self._stack.need(can.METRICS).metrics.read(self.http)

    def settled_metrics(self) -> Metrics:
        """Metrics once nothing but the scrape is in flight: what was answered is counted then.

        As they are after a while, where that never is: others ask, too, or are not counted off.
        """
        return metrics_view.settled(self.metrics)

    # Workers and the process

    def reach_all_workers(self, within_s: float = 10.0) -> list[str]:
        """The `X-Served-By` of every worker, sorted. Raises: WorkerNotReachedError."""
        return sorted(self.each_workers(reach.LIVE, within_s))

    def each_workers(self, path: str, within_s: float = 10.0) -> dict[str, Answer]:
        """What each worker answers to a GET of `path`, by its `X-Served-By`.

        Raises: WorkerNotReachedError when not every worker answers `within_s`.
        """
        answers = reach.each_workers(self.http, path, self.workers_wanted, within_s)
        if len(answers) < self.workers_wanted:
            told = f"{len(answers)} of {self.workers_wanted} workers answered"
            raise reach.WorkerNotReachedError(f"{told} to {path} within {within_s:g} s")
        return answers

    @contextmanager
    def at_worker(self, served_by: str, within_s: float = 10.0) -> Iterator[Http]:
        """An Http whose one kept connection is held by that worker."""
        with reach.connection_at(self.http, served_by, within_s) as http:
            yield http

    @property
    def process(self) -> ProcessControl:
        """Signals and restarts of the service; needs RESTART."""
        return self._stack.need(can.RESTART).control

    def workers(self) -> list[int]:
        """The process ids of the live worker processes, sorted."""
        return self.process.worker_pids()

    def memory_bytes(self) -> int:
        """What the workers hold in memory, as the system counts it (resident); needs WORKERS."""
        return sum(resident_bytes(pid) for pid in self.workers())

    def kill_worker(self, pid: int | None = None) -> int:
        """SIGKILL one worker (the first, if not said) and give its process id."""
        return self.process.kill_worker(pid)

    def terminate(self) -> None:
        """SIGTERM to the service; returns at once, `process.wait()` gives the exit code."""
        self.process.terminate()

    def restart(
        self, env: Mapping[str, str | None] | None = None, *, within_s: float = START_WITHIN_S
    ) -> None:
        """Stop the service, start it with its data and `env` added (None removes), wait for ready.

        Keeps Redis, the database and the simulators. `base_url` changes.
        """
        self.process.restart(env or {}, within_s=within_s)

    def try_start(self, env: Mapping[str, str | None], *, workers: int = 1) -> Finished:
        """Start a second service beside, with `env` added; how it ended, or that it listened.

        Gives: Finished(code, stdout, stderr, listened); when it listened it was then stopped.
        """
        return self.process.try_start(env, workers=workers, within_s=START_WITHIN_S)

    @contextmanager
    def beside(
        self, env: Mapping[str, str | None], *, is_read: bool = True
    ) -> Iterator[tuple[Http, Callable[[Sequence[str]], Finished]]]:
        """A second service beside, with data of its own and `env` added, until the context ends.

        Takes: `is_read` false: its log is a pipe that nobody reads once it listens.
        Gives: HTTP to it, and its own `llmhive` commands; readiness is for the claim to see.
        """
        with self.process.beside(env, is_read=is_read, within_s=START_WITHIN_S) as other:
            yield self._http_to(other.url), other.run

    def shell(
        self, arguments: Sequence[str], env: Mapping[str, str | None] | None = None
    ) -> Finished:
        """Run `llmhive <arguments>` in the service's environment, `env` on top, 30 s at most."""
        return self._stack.need(can.SHELL).shell.run(arguments, env=env, timeout_s=30.0)

    def logs(self, contains: str | None = None) -> list[dict[str, Any]]:
        """The service's JSON log lines so far, those whose text holds `contains`."""
        return self._stack.need(can.LOGS).logs.lines(contains)

    def raw_log_text(self) -> str:
        """Everything that the service wrote to stdout and stderr so far, over all restarts.

        A line is written a moment after its answer: that of each worker's last is waited for.
        """
        logs = self._stack.need(can.LOGS).logs
        last = {one.served_by: one.request_id for one in self.answers if one.request_id}
        came_true(
            lambda: all(str(id_) in logs.text() for id_ in last.values()),
            within_s=LOGGED_WITHIN_S,
        )
        return logs.text()

    def shift_clock(self, by_s: float) -> None:
        """Set the service's wall clock so far ahead; its claim starts it with `clock.shiftable()`.

        Monotonic time and everybody else's clock stay; the suite's own calls see it at once.
        No other claim gets this stack: what it wrote meanwhile is of another time.
        """
        self._stack.need(can.CLOCK).is_spoilt = True
        clock.shift(Path(self.settings["LLMHIVE_DATA_DIR"]), by_s)

    # What stands around it

    def provider(self, name: str) -> SimulatedProvider:
        """The simulated provider of that name ("openai", "anthropic")."""
        return self._stack.need(can.SCRIPT).providers[name]

    @property
    def stripe(self) -> SimulatedStripe:
        """The simulated Stripe API: what the service fetches."""
        return self._stack.need(can.SCRIPT).stripe

    @property
    def redis(self) -> RedisView:
        """The Redis that the service uses, straight, for reading."""
        return self._stack.need(can.REDIS_READ).redis

    @property
    def faults(self) -> Faults:
        """Faults on the links "redis", "openai", "anthropic", "stripe" and "service".

        Elsewhere "service" is the only one, where there is a proxy of our own before it.
        """
        return self._stack.need(can.PROXY).faults

    def database_lock(self) -> AbstractContextManager[None]:
        """Hold SQLite's write lock from outside for as long as the context lasts."""
        return database.write_lock(self._stack.need(can.DATABASE).database_file)

    def database_lost(self) -> AbstractContextManager[None]:
        """Take SQLite's tables away from outside for as long as the context lasts."""
        return database.tables_lost(self._stack.need(can.DATABASE).database_file)

    # Evidence

    def everything_said(self) -> Mapping[str, str]:
        """Source -> text of all that left the service so far, unmasked: for the scan for leaks."""
        return traces.everything_said(self, self._stack)

    def keep_traces(self, folder: Path) -> None:
        """Write requests, answers, logs, metrics, Redis keys and journals into `folder`, masked."""
        traces.write(folder, self, self._stack)

    def mark(self) -> float:
        """Monotonic seconds now, to compare with `sent_s`, `done_s` and the simulators' times."""
        return now_s()
