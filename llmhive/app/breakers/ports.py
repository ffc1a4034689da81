"""What breakers need from outside: a place to share records, and somebody who watches.

Imports the model only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from llmhive.app.breakers.model import CallOutcome, CircuitRecord, CircuitState
from llmhive.app.errors import DependencyError


class CircuitStoreError(DependencyError):
    """The shared state cannot be reached; whether a command took place is not known."""

    code = "circuit_store_unavailable"
    title = "The shared state of the breakers cannot be reached."


class CircuitStore(Protocol):
    """Records shared by all workers; each method is one atomic step and gives the record after it.

    Records given and taken hold times of the caller's monotonic clock; `None` stands for
    a record that is not there. All methods raise CircuitStoreError (not definite).
    """

    async def look(self, names: Sequence[str]) -> list[CircuitRecord | None]:
        """Read the records of all `names`, in their order."""

    async def publish(
        self, name: str, record: CircuitRecord, *, expected: str
    ) -> CircuitRecord | None:
        """Replace the record if its epoch is `expected` or it is not there."""

    async def lease(
        self, name: str, epoch: str, lease_id: str, lease_s: float
    ) -> CircuitRecord | None:
        """Take a probe's slot of this epoch, if one is free: then `lease_id` is in the record."""

    async def finish(
        self, name: str, epoch: str, lease_id: str, *, succeeded: bool, next_epoch: str
    ) -> CircuitRecord | None:
        """Give a probe's slot back and count its success; enough of them close the breaker."""

    async def cool_down(self, name: str, until: float) -> CircuitRecord | None:
        """Let the breaker rest at least until `until`."""


class BreakerObserver(Protocol):
    """Who wants to know; methods are called on the event loop and must return at once."""

    def state_seen(self, name: str, state: CircuitState) -> None:
        """This worker sees `state`; repeated at least every follower's round."""

    def transitioned(self, name: str, state: CircuitState, reason: str) -> None:
        """This worker sees a state other than before, whether by an outcome or by time."""

    def call_counted(self, name: str, outcome: CallOutcome) -> None:
        """A call ended, or was rejected."""
