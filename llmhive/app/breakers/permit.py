"""What a caller gets before an attempt, and tells the attempt's end to.

The caller classifies; see the list of what counts in `BreakerService`.
"""

from __future__ import annotations

import math
from typing import Protocol

from llmhive.app.breakers.breaker import Hold
from llmhive.app.breakers.model import CallOutcome
from llmhive.app.errors import CapacityError


class BreakerOpenError(CapacityError):
    """The breaker lets nobody through now (definite: nothing was sent)."""

    code = "circuit_open"
    title = "The provider is not called for now."

    def __init__(self, name: str, wait_s: float, reason: str) -> None:
        super().__init__(
            f"The breaker {name} lets nobody through: {reason}.",
            retry_after_s=max(1, math.ceil(wait_s)),
        )
        self.name = name
        self.reason = reason
        self.wait_s = wait_s


class Settler(Protocol):
    """Who hears how a permitted attempt ended; every method returns at once."""

    def succeeded(self, hold: Hold) -> None:
        """The attempt ended well."""

    def failed(self, hold: Hold, reason: str) -> None:
        """The attempt failed in a way that counts."""

    def released(self, hold: Hold) -> None:
        """The attempt says nothing about the provider's health."""

    def cooled(self, hold: Hold, seconds: float) -> None:
        """The credential has to rest."""

    def counted(self, hold: Hold, outcome: CallOutcome) -> None:
        """Count the call."""


class Permit:
    """Leave for one attempt; the first report counts, all others do nothing.

    A permit that is never reported on changes nothing, unless it is a probe: its lease
    expires then, which is a failure. So call `neutral()` in a `finally`.
    """

    __slots__ = ("_child", "_is_over", "_parent", "_settler")

    def __init__(self, settler: Settler, child: Hold, parent: Hold) -> None:
        self._settler = settler
        self._child = child
        self._parent = parent
        self._is_over = False

    @property
    def is_probe(self) -> bool:
        """Whether this attempt tries out a provider that was down."""
        return bool(self._child.lease_id or self._parent.lease_id)

    def succeed(self) -> None:
        """Report a complete answer: for a stream, its terminal event."""
        if self._is_over:
            return
        self._is_over = True
        self._settler.succeeded(self._child)
        self._settler.succeeded(self._parent)
        self._settler.counted(self._child, CallOutcome.SUCCESS)

    def fail(self, reason: str, *, connect: bool = False) -> None:
        """Report a failure that counts; `connect` says that the provider was not even reached.

        Takes: reason in snake case, from a closed set: it is shown to operators.
        """
        if self._is_over:
            return
        self._is_over = True
        self._settler.failed(self._child, reason)
        if connect:
            self._settler.failed(self._parent, reason)
        else:
            self._settler.succeeded(self._parent)
        self._settler.counted(self._child, CallOutcome.FAILURE)

    def neutral(self) -> None:
        """Report an end that says nothing about health; a probe gives its slot back."""
        if self._is_over:
            return
        self._is_over = True
        self._settler.released(self._child)
        self._settler.released(self._parent)
        self._settler.counted(self._child, CallOutcome.NEUTRAL)

    def cool_down(self, seconds: float) -> None:
        """Report that this credential has to rest for `seconds`; not a failure."""
        if self._is_over:
            return
        self._is_over = True
        self._settler.released(self._child)
        self._settler.cooled(self._child, seconds)
        self._settler.succeeded(self._parent)
        self._settler.counted(self._child, CallOutcome.COOL_DOWN)
