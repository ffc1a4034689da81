"""The service as a child process: started, known to be ours, signalled, restarted.

It runs from an environment of its own, in a folder of its own, with no variable but those
it is given; nothing goes out before it has answered with the instance that we gave it.
"""

from __future__ import annotations

import itertools
import os
import secrets
import signal
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from verification.harness import reach
from verification.harness.http_client import Http
from verification.harness.lifetime import birth
from verification.harness.processes import Child, ChildError, Finished, keeper
from verification.harness.stack import defaults
from verification.harness.stack.model import (
    Beside,
    ServiceDidNotStartError,
    Stack,
    StackError,
)
from verification.harness.stack.prepared_data import OPERATOR
from verification.harness.stack.service_environment import (
    COMMAND_WITHIN_S,
    clean_environment,
    run_command,
    service_python,
)
from verification.harness.users import User
from verification.harness.waiting import came_true, now_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from verification.harness.toxiproxy_link import Link

# Python, imports and migrations on a busy machine of two cores.
START_WITHIN_S: Final = 30.0
# Beyond the drain and the grace that the settings name: the last log lines, the exit itself.
STOP_MARGIN_S: Final = 3.0
# A fork of what is loaded already, on a busy machine of two cores.
REPLACED_WITHIN_S: Final = 5.0
# One transaction; a locked database is waited for as long as a request would.
OPERATOR_WITHIN_S: Final = 5.0
ADMIN_USERS: Final = "/api/admin/users"
READY: Final = "/api/health/ready"
OK: Final = 200
CREATED: Final = 201


class Service:
    """One service with its data, over all its restarts: control, commands and users."""

    def __init__(
        self, stack: Stack, folder: Path, settings: Mapping[str, str], proxy: Link
    ) -> None:
        self.stack = stack
        self.proxy = proxy
        self.folder = folder
        self.data = folder / "data"
        self.settings = dict(settings)
        self._child: Child | None = None
        self._starts = itertools.count(1)
        self.data.mkdir(parents=True, exist_ok=True)

    # ProcessControl

    @property
    def child(self) -> Child:
        """The running (or last) supervisor.

        Raises: StackError before the first start.
        """
        if self._child is None:
            raise StackError("the service was not started yet")
        return self._child

    @property
    def pid(self) -> int:
        """The process id of the supervisor."""
        return self.child.pid

    @property
    def is_running(self) -> bool:
        """The supervisor has not ended."""
        return self._child is not None and self._child.is_alive

    def worker_pids(self) -> list[int]:
        """The live worker processes by their own word (`X-Served-By`), sorted."""
        http = Http(self.stack.base_url)
        names = reach.all_workers(http, self.stack.worker_count, within_s=5.0)
        pids = [int(name.rpartition("-")[2]) for name in names]
        return sorted(pid for pid in pids if self._is_ours(pid))

    def kill_worker(self, pid: int | None = None) -> int:
        """SIGKILL one worker; never the supervisor, never a stranger.

        Raises: StackError when there is no such worker.
        """
        self.stack.is_tired = True
        chosen = pid if pid is not None else next(iter(self.worker_pids()), None)
        if chosen is None or chosen == self.pid or not self._is_ours(chosen):
            raise StackError(f"{chosen} is no worker of the service (supervisor {self.pid})")
        os.kill(chosen, signal.SIGKILL)
        return chosen

    def replace_workers(self, between: Callable[[], object]) -> bool:
        """SIGKILL every worker and wait for their successors; false when these do not come.

        What a worker knows ends with it, for a fraction of what a start of the service costs.
        Takes: `between` is done when the old are dead and none of the new was started.
        """
        old = self.worker_pids()
        if len(old) < self.stack.worker_count or self.pid in old:
            return False
        self.child.signal(signal.SIGSTOP)  # nobody is replaced while it stands still
        try:
            for pid in old:
                with suppress(ProcessLookupError):  # it died by itself
                    os.kill(pid, signal.SIGKILL)
            if not came_true(lambda: not any(map(birth, old)), within_s=REPLACED_WITHIN_S):
                return False
            between()
        finally:
            self.child.signal(signal.SIGCONT)
        http = Http(self.stack.base_url)
        return came_true(
            lambda: http.get(READY, timeout_s=REPLACED_WITHIN_S).status == OK,
            within_s=REPLACED_WITHIN_S,
        )

    def _is_ours(self, pid: int) -> bool:
        try:
            return os.getsid(pid) == self.pid
        except ProcessLookupError:
            return False

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor alone."""
        self.stack.is_tired = True
        self.child.signal(number)

    def kill(self) -> None:
        """SIGKILL the supervisor alone."""
        self.signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM the supervisor; returns at once."""
        self.signal(signal.SIGTERM)

    def wait(self, within_s: float) -> int | None:
        """The supervisor's exit code, None when it still runs after `within_s`."""
        return self.child.wait(within_s)

    def restart(
        self, env: Mapping[str, str | None] | None = None, *, within_s: float = START_WITHIN_S
    ) -> None:
        """Stop what runs, start with `env` added, wait for ready.

        Raises: ServiceDidNotStartError.
        """
        if env:
            self.stack.is_spoilt = True
        self.stop()
        self.settings = merged(self.settings, env or {})
        self.start(within_s=within_s)

    def try_start(
        self, env: Mapping[str, str | None], *, workers: int = 1, within_s: float = START_WITHIN_S
    ) -> Finished:
        """Start a second service beside, with data of its own, and say how that ended."""
        child, _ = self._start_beside(env, workers)
        has_listened = came_true(
            lambda: not child.is_alive or '"listening"' in child.stdout(), within_s=within_s
        )
        if child.is_alive:
            self._stop(child)
            return Finished(None, child.stdout(), child.stderr(), listened=has_listened)
        return Finished(child.exit_code, child.stdout(), child.stderr())

    @contextmanager
    def beside(
        self,
        env: Mapping[str, str | None],
        *,
        is_read: bool = True,
        within_s: float = START_WITHIN_S,
    ) -> Iterator[Beside]:
        """A second service beside, with data of its own, for as long as the context lasts.

        It listens, which does not say that it is ready.
        Takes: `is_read` false: its log is a pipe that nobody reads from then on.
        Raises: ServiceDidNotStartError.
        """
        child, run = self._start_beside(env, workers=1, is_piped=not is_read)
        try:
            yield Beside(str(child.announced("listening", within_s)["url"]), run)
        except ChildError as error:
            raise ServiceDidNotStartError(str(error)) from error
        finally:
            if child.pipe is not None:
                child.pipe.close()
            self._stop(child)

    def _start_beside(
        self, env: Mapping[str, str | None], workers: int, *, is_piped: bool = False
    ) -> tuple[Child, Callable[[Sequence[str]], Finished]]:
        folder = self.folder / f"beside-{next(self._starts)}"
        data = folder / "data"
        data.mkdir(parents=True)
        own = {"LLMHIVE_DATA_DIR": str(data), "LLMHIVE_INSTANCE": new_instance()}
        settings = merged({**self.settings, **own}, env)
        child = _spawn(folder, data, settings, workers, "beside", is_piped=is_piped)
        return child, partial(run_command, folder, data, settings)

    def _stop(self, child: Child) -> None:
        child.stop(self._grace_s())
        child.wait(self._grace_s() + STOP_MARGIN_S)

    def start(self, *, within_s: float = START_WITHIN_S) -> None:
        """Start, see that it is ours, wait for ready; aims the proxy and `base_url` at it.

        Raises: ServiceDidNotStartError with what it said.
        """
        deadline_s = now_s() + within_s
        if self.settings.get("LLMHIVE_ENVIRONMENT") != "development":
            self.run(["migrate"], timeout_s=within_s)
        number = next(self._starts)
        child = _spawn(
            self.folder, self.data, self.settings, self.stack.worker_count, f"service-{number}"
        )
        self._child = child
        self.stack.logs.add(child.stdout_path, child.stderr_path)
        try:
            said = child.announced("listening", within_s)
            self.stack.base_url = str(said["url"])
            self._know(Http(self.stack.base_url), deadline_s)
        except (ChildError, ServiceDidNotStartError) as error:
            child.kill()
            raise ServiceDidNotStartError(str(error)) from error
        self.proxy.aim(self.stack.base_url.removeprefix("http://"))
        defaults.adopt(self.stack, self.settings)

    def _know(self, http: Http, deadline_s: float) -> None:
        health = http.get("/api/health").json()
        found = health.get("instance") if isinstance(health, dict) else None
        if found != self.stack.instance:
            raise ServiceDidNotStartError(
                f"{http.base_url} is not the service that was started: instance {found!r}"
            )
        if not came_true(lambda: http.get(READY).status == OK, within_s=deadline_s - now_s()):
            raise ServiceDidNotStartError(f"not ready in time: {http.get(READY)}")

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to whatever is left after drain and grace."""
        if self._child is not None:
            self._stop(self._child)

    def end(self) -> None:
        """Give it up: it may end by itself within its grace, nobody waits for it."""
        if self._child is not None:
            self._child.stop(self._grace_s())

    def _grace_s(self) -> float:
        times = (self.settings.get(name, "5") for name in ("DRAIN_SECONDS", "SHUTDOWN_GRACE_S"))
        return sum(float(time) for time in times) + STOP_MARGIN_S

    # Shell

    def run(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        timeout_s: float = COMMAND_WITHIN_S,
    ) -> Finished:
        """Run `llmhive <arguments>` in the service's environment and folder, with `env` on top."""
        settings = merged(self.settings, env or {})
        return run_command(self.folder, self.data, settings, arguments, timeout_s=timeout_s)

    # UserSource

    def make(self, user_id: str, *, tier: str, customer: str | None) -> User:
        """A user made by the service's operator, over HTTP; by `llmhive keys create` if need be.

        A command costs a start of Python, so the route comes first; a service that does not
        answer (stopped, its database locked) is no reason to have no user.
        Raises: StackError with what the command said when it fails.
        """
        wanted = {"user": user_id, "tier": tier, "stripe_customer": customer}
        answer = Http(self.stack.base_url).post(
            ADMIN_USERS, json=wanted, key=self.operators_key(), timeout_s=OPERATOR_WITHIN_S
        )
        made = answer.json() if answer.status == CREATED else None
        if not isinstance(made, dict):
            tied = ["--stripe-customer", customer] if customer else []
            made = self._create_key("--user", user_id, "--tier", tier, *tied)
        return User(
            id=user_id,
            key=made["key"],
            key_id=str(made.get("key_id", "")),
            tier=tier,
            customer=customer,
        )

    def operators_key(self) -> str:
        """The key with scope `admin` of this service's data; made on first use if need be."""
        if OPERATOR not in self.stack.secrets:
            self.know_operator(str(self._create_key("--user", OPERATOR, "--scope", "admin")["key"]))
        return self.stack.secrets[OPERATOR]

    def know_operator(self, key: str) -> None:
        """From now on this is the operator's key, one of the secrets that must not leak."""
        self.stack.secrets = {**self.stack.secrets, OPERATOR: key}

    def _create_key(self, *options: str) -> dict[str, Any]:
        done = self.run(["keys", "create", *options, "--json"])
        made = done.json()
        if done.code or not isinstance(made, dict):
            raise StackError(f"`keys create` ended with {done.code}: {done.stderr or done.stdout}")
        return made


def _spawn(
    folder: Path,
    data: Path,
    settings: Mapping[str, str],
    workers: int,
    name: str,
    *,
    is_piped: bool = False,
) -> Child:
    argv = [service_python(), "-P", "-m", "llmhive", "serve", "--port", "0"]
    return keeper().start(
        [*argv, "--workers", str(workers)],
        name=name,
        folder=folder,
        cwd=data,
        env={**clean_environment(folder), **settings},
        is_piped=is_piped,
    )


def merged(settings: Mapping[str, str], env: Mapping[str, str | None]) -> dict[str, str]:
    """Settings with `env` on top; None removes a variable."""
    both: dict[str, str | None] = {**settings, **env}
    return {name: value for name, value in both.items() if value is not None}


def new_instance() -> str:
    """A nonce: the service that answers with it is the one that we started."""
    return f"vfy-{secrets.token_hex(6)}"
