"""A target that somebody else started: pinned, budgeted, and never harmed.

Before the pin is seen nothing but GET goes out. A target that answers as something else is
foreign: its claims are false, since what answers there does not keep the promises. A silent
one is unknown.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from verification.harness import capabilities as can
from verification.harness.http_client import Http
from verification.harness.metrics_view import MetricsRoute
from verification.harness.redis_view import RedisView
from verification.harness.stack.model import LACKING, Stack, StackError

if TYPE_CHECKING:
    from verification.harness.stack.configuration import Configuration
    from verification.harness.target_file import TargetFile
    from verification.harness.users import User

# Health never waits for a dependency; a network and a cold start may.
LOOK_WITHIN_S: Final = 10.0


class SilentTargetError(StackError):
    """Nothing answered, so nothing is known about it."""


class BudgetSpentError(StackError):
    """The target file allows no further request, so the claim stays unknown."""


class NoUserLeftError(StackError):
    """Every user of that tier was lent already; a used one would have a history."""


class ForeignTargetError(AssertionError):
    """What answers at the URL is not the service that the file names."""


class Seen(StrEnum):
    """What stands at the URL."""

    OURS = "ours"
    OTHER_INSTANCE = "other_instance"
    FOREIGN = "foreign"
    SILENT = "silent"


EXIT_CODES: Final = {Seen.OURS: 0, Seen.FOREIGN: 1, Seen.SILENT: 2, Seen.OTHER_INSTANCE: 3}


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one GET of health met, in a sentence."""

    seen: Seen
    says: str

    @property
    def exit_code(self) -> int:
        """0 ours, 1 foreign, 2 silent, 3 the pin differs."""
        return EXIT_CODES[self.seen]


def look(target: TargetFile) -> Sighting:
    """See by one GET whether the service that the file names answers there."""
    answer = _http(target).get("/api/health", timeout_s=LOOK_WITHIN_S)
    if not answer.status:
        return Sighting(Seen.SILENT, f"no answer within {LOOK_WITHIN_S:g} s ({answer.error})")
    health = answer.json()
    if not isinstance(health, dict) or "instance" not in health or "components" not in health:
        return Sighting(
            Seen.FOREIGN, f"something answers {answer.status}, but not with this service's health"
        )
    pin = (target.environment, target.instance)
    found = (health.get("environment"), health["instance"])
    if found != pin:
        return Sighting(
            Seen.OTHER_INSTANCE,
            f"expected environment and instance {pin}, got {found}: nothing was sent",
        )
    return Sighting(Seen.OURS, f"{target.instance} ({target.environment}) answers {answer.status}")


def _http(target: TargetFile) -> Http:
    return Http(target.base_url, trust_env=True)


class LentUsers:
    """Users of the file, each lent once, shared out over the workers of a run."""

    def __init__(self, users: tuple[User, ...], worker: int, workers: int) -> None:
        self._free = list(users[worker::workers])
        self._lock = threading.Lock()

    def make(self, user_id: str, *, tier: str, customer: str | None) -> User:
        """A user of that tier that no claim has had; with a customer when one is wanted.

        Raises: NoUserLeftError, naming what `user_id` was for.
        """
        with self._lock:
            for user in self._free:
                if user.tier == tier and (customer is None or user.customer is not None):
                    self._free.remove(user)
                    return user
        kind = "customer" if customer else "user"
        raise NoUserLeftError(f"the target file has no further {tier} {kind} to lend as {user_id}")


class Gate:
    """Lets a request out, or not: the pin and the budget. Called before each."""

    def __init__(self, sighting: Sighting, requests_max: int) -> None:
        self._sighting = sighting
        self._left = requests_max
        self._lock = threading.Lock()

    def __call__(self, method: str) -> None:
        """Count one request.

        Raises: ForeignTargetError for anything but GET to a target without the pin;
        BudgetSpentError when the file allows no more.
        """
        if self._sighting.seen is not Seen.OURS and method != "GET":
            raise ForeignTargetError(f"{method} was not sent: {self._sighting.says}")
        with self._lock:
            if self._left <= 0:
                raise BudgetSpentError("limits.requests of the target file is spent")
            self._left -= 1


class RemoteStacks:
    """The one stack of a target file, lent to each claim as it is."""

    def __init__(self, target: TargetFile, *, run_id: str, worker: int, workers: int) -> None:
        self.sighting = look(target)
        share = -(-target.requests_max // workers)
        self.gate = Gate(self.sighting, share)
        named = target.capabilities
        self.stack = Stack(
            kind="remote",
            run_id=f"{run_id}-gw{worker}",
            base_url=target.base_url,
            instance=target.instance,
            environment=target.environment,
            capabilities=named,
            worker_count=target.workers,
            provider_names=target.providers,
            webhook_secret=target.secrets.get("stripe_webhook", LACKING),
            users=LentUsers(target.users, worker, workers),
            metrics=MetricsRoute(target.secrets.get("metrics_token")),
            redis=RedisView(target.secrets["redis_url"]) if can.REDIS_READ in named else LACKING,
            gate=self.gate,
        )

    @property
    def capabilities(self) -> frozenset[str]:
        """What the target file says that it can do."""
        return self.stack.capabilities

    def unmet(self, wanted: Configuration) -> list[str]:
        """Settings of its own, or more workers than it has: nobody elsewhere starts it anew."""
        names = [name for name, _ in wanted.env]
        shrink = [f"{can.SHRINK} ({', '.join(names)})"] if names else []
        too_few = wanted.workers > self.stack.worker_count
        return shrink + ([f"{can.WORKERS} ({wanted.workers})"] if too_few else [])

    def lend(self, wanted: Configuration) -> RemoteStacks:
        """The stack, whatever was wanted: `unmet` says beforehand what it cannot be.

        Raises: SilentTargetError when nothing answers there.
        """
        del wanted
        if self.sighting.seen is Seen.SILENT:
            raise SilentTargetError(f"{self.stack.base_url}: {self.sighting.says}")
        return self

    def end_claim(self) -> list[str]:
        """Nothing was made ill."""
        return []

    def close(self) -> None:
        """Nothing was started."""
