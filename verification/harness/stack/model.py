"""What stands behind a target: the parts, and which of them there are.

Every way to get a target (processes, containers, remote) fills in a Stack. A part that a
stack lacks is None, and its capability is missing; `need` is the only guard. Starts
nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from verification.harness.faults import Faults
    from verification.harness.http_client import Http
    from verification.harness.metrics_view import Metrics
    from verification.harness.processes import Finished
    from verification.harness.redis_view import RedisView
    from verification.harness.service_logs import ServiceLogs
    from verification.harness.simulated import SimulatedProvider, SimulatedStripe
    from verification.harness.staging.gate import Gate
    from verification.harness.users import User


class MissingCapabilityError(Exception):
    """The claim used something that it did not state as a need, and this target lacks it."""

    def __init__(self, capability: str) -> None:
        super().__init__(f"this target cannot do {capability!r}; state it in the claim's needs")
        self.capability = capability


class StackError(Exception):
    """What stands around the claim could not be had: the harness's trouble, never the service's."""


class ServiceDidNotStartError(StackError):
    """The service did not come up with the settings that it was given."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A second service beside the target: where it listens, and its own commands."""

    url: str
    run: Callable[[Sequence[str]], Finished]


class ProcessControl(Protocol):
    """Signals and restarts of the service."""

    @property
    def pid(self) -> int:
        """The process id of the service's supervisor."""

    def worker_pids(self) -> list[int]:
        """The live worker processes, sorted."""

    def kill_worker(self, pid: int | None = None) -> int:
        """SIGKILL one worker and give its process id."""

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor alone."""

    def kill(self) -> None:
        """SIGKILL the supervisor alone; its workers have to notice."""

    def terminate(self) -> None:
        """SIGTERM the supervisor; returns at once."""

    def wait(self, within_s: float) -> int | None:
        """The exit code, negative for a signal; None when it still runs."""

    def restart(self, env: Mapping[str, str | None], *, within_s: float) -> None:
        """Stop what runs, start with `env` added, wait for ready."""

    def try_start(
        self, env: Mapping[str, str | None], *, workers: int, within_s: float
    ) -> Finished:
        """Start a second service beside and say how that ended."""

    def beside(
        self, env: Mapping[str, str | None], *, is_read: bool, within_s: float
    ) -> AbstractContextManager[Beside]:
        """A second service beside, its log read or not, for as long as the context lasts."""


class UserSource(Protocol):
    """Where users come from."""

    def make(self, user_id: str, *, tier: str, customer: str | None) -> User:
        """A user with a key of the tier; a remote source lends one and ignores the id."""

    def operators_key(self) -> str:
        """A key with scope `admin`."""


class Shell(Protocol):
    """The service's own commands, in the service's environment."""

    def run(
        self, arguments: Sequence[str], *, env: Mapping[str, str | None] | None, timeout_s: float
    ) -> Finished:
        """Run `llmhive <arguments>` to its end, with `env` on top; None removes a variable."""


class MetricsSource(Protocol):
    """Where metrics are read."""

    def read(self, http: Http) -> Metrics:
        """The metrics now."""


# A part that this stack lacks. Typed as anything, because `need` guards each use.
LACKING: Any = None


@dataclass(slots=True, kw_only=True)
class Stack:
    """The parts of one target. `base_url` and `settings` change when the service restarts."""

    kind: str
    run_id: str
    base_url: str
    instance: str
    environment: str
    capabilities: frozenset[str]
    worker_count: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    prices: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    provider_names: tuple[str, ...] = ()
    proxied_url: str = LACKING
    webhook_secret: str = LACKING
    users: UserSource = LACKING
    control: ProcessControl = LACKING
    shell: Shell = LACKING
    logs: ServiceLogs = LACKING
    metrics: MetricsSource = LACKING
    providers: Mapping[str, SimulatedProvider] = field(default_factory=dict)
    stripe: SimulatedStripe = LACKING
    redis: RedisView = LACKING
    faults: Faults = LACKING
    database_file: Path = LACKING
    gate: Gate | None = None
    """Asked before each request of a claim to a target elsewhere, and told of each answer."""
    is_tired: bool = False
    """Its service has seen trouble: it is restarted, on an empty Redis, before the next claim."""
    is_spoilt: bool = False
    """Something changed that a restart does not mend: it is ended before the next claim."""

    def need(self, capability: str) -> Stack:
        """This stack, if it has the capability.

        Raises: MissingCapabilityError otherwise.
        """
        if capability not in self.capabilities:
            raise MissingCapabilityError(capability)
        return self
