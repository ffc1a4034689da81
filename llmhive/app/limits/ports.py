"""What limits need from outside: a place where all workers count, and somebody who watches.

Imports the model only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from llmhive.app.errors import DependencyError
from llmhive.app.limits.model import Admission, Decision, Demand, Past, Settlement


class WindowStoreError(DependencyError):
    """The shared windows cannot be used now; `definite` says that surely nothing was counted."""

    code = "window_store_unavailable"
    title = "The shared windows of the limits cannot be reached."


class WindowStore(Protocol):
    """Windows and leases shared by all workers; each method is one atomic step, never repeated.

    All methods raise WindowStoreError, or CapacityError (definite) when this worker asks for
    too much at once.
    """

    def watch(self, returned: Callable[[], None]) -> None:
        """Have `returned` called whenever the store is back after it was away."""

    async def admit(self, demand: Demand, orphaned: Callable[[Decision], None]) -> Decision:
        """Count a request, its tokens and its lease, all of them or none; a refusal writes nothing.

        `orphaned` takes the decision if the caller is cancelled before it comes.
        """

    async def settle(self, settlement: Settlement) -> None:
        """End the lease; give tokens back to the reserving bucket, or charge more to this one."""

    async def renew(self, user: str, given: Sequence[str], merged: Sequence[str]) -> None:
        """Prolong leases of what runs.

        Takes: those `given` by `admit`, put back if the store has lost them; those of what was
        `merged`, or is still to be, prolonged only if they are there.
        """

    async def merge(self, user: str, pasts: Mapping[str, Past], live: Sequence[str]) -> None:
        """Count what a worker admitted by itself, by operation; give leases to what is `live`."""


class LimitObserver(Protocol):
    """Who wants to know; called on the event loop, must return at once."""

    def decided(self, admission: Admission, *, is_local: bool) -> None:
        """A request was admitted or refused; `is_local`: by this worker alone."""
