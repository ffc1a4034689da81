"""A target that somebody else started, as a stack: what a target file lends to claims.

A target that answers as something else is foreign: its claims are false, since what answers
there does not keep the promises. A silent one is unknown. How far claims may go is the
gate's matter, see staging/session.py.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from verification.harness import capabilities as can
from verification.harness.metrics_view import MetricsRoute
from verification.harness.redis_view import RedisView
from verification.harness.stack.model import LACKING, Stack, StackError
from verification.harness.staging.sighting import Seen

if TYPE_CHECKING:
    from verification.harness.stack.configuration import Configuration
    from verification.harness.staging.session import RemoteRun


class SilentTargetError(StackError):
    """Nothing answered, so nothing is known about it."""


class RemoteStacks:
    """The one stack of a run against a target elsewhere, lent to each claim as it is."""

    def __init__(
        self, run: RemoteRun, *, worker: int = 0, workers: int = 1, ending: ExitStack | None = None
    ) -> None:
        """Lend a run's target; takes `ending`, what ends with the stacks."""
        target, named = run.target, run.target.capabilities
        self._run = run
        self._ending = ending or ExitStack()
        self.stack = Stack(
            kind="remote",
            run_id=f"{run.run_id}-gw{worker}",
            base_url=target.base_url,
            instance=target.instance,
            environment=target.environment,
            capabilities=named,
            worker_count=target.workers,
            versions={"llmhive": run.sighting.version} if run.sighting.version else {},
            secrets={f"secrets.{name}": text for name, text in target.secrets.items()},
            provider_names=target.providers,
            webhook_secret=target.secrets.get("stripe_webhook", LACKING),
            users=run.users(worker, workers),
            metrics=MetricsRoute(target.secrets.get("metrics_token")),
            redis=RedisView(target.secrets["redis_url"]) if can.REDIS_READ in named else LACKING,
            gate=run.gate,
        )

    @property
    def capabilities(self) -> frozenset[str]:
        """What the target file says that it can do."""
        return self.stack.capabilities

    def unmet(self, wanted: Configuration) -> list[str]:
        """Settings of its own, or more workers than it has: nobody elsewhere starts it anew."""
        return unmet(wanted, self.stack.worker_count)

    def lend(self, wanted: Configuration) -> RemoteStacks:
        """The stack, whatever was wanted: `unmet` says beforehand what it cannot be.

        Raises: SilentTargetError when nothing answers there.
        """
        del wanted
        if self._run.sighting.seen is Seen.SILENT:
            raise SilentTargetError(f"{self.stack.base_url}: {self._run.sighting.says}")
        return self

    def end_claim(self) -> list[str]:
        """Nothing was made ill."""
        return []

    def close(self) -> None:
        """Nothing was started; what was drawn from the budget and not used goes back."""
        self._run.gate.close()
        self._ending.close()


def unmet(wanted: Configuration, workers: int) -> list[str]:
    """What no target elsewhere with so many workers gives: settings, and more workers."""
    names = [name for name, _ in wanted.env]
    shrink = [f"{can.SHRINK} ({', '.join(names)})"] if names else []
    too_few = wanted.workers > workers
    return shrink + ([f"{can.WORKERS} ({wanted.workers})"] if too_few else [])
