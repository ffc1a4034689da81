"""The stacks of one worker process, kept by configuration; the one unused longest goes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from verification.harness.stack import defaults

if TYPE_CHECKING:
    from verification.harness.stack.configuration import Configuration
    from verification.harness.stack.local import LiveStack

# Two services with their Redis and simulators: a stack that idles probes and is probed, and a
# worker goes on with one configuration, so more would hardly be met again.
LIVE_AT_MOST: Final = 2


class Builder(Protocol):
    """Builds and ends stacks."""

    def build(self, wanted: Configuration) -> LiveStack:
        """A stack of that configuration."""

    def end(self, live: LiveStack) -> None:
        """End one stack."""

    def close(self) -> None:
        """End what the stacks share."""


class StackCache:
    """Lends live stacks by configuration."""

    def __init__(self, builder: Builder, *, at_most: int = LIVE_AT_MOST) -> None:
        self._builder = builder
        self._at_most = at_most
        self._live: dict[Configuration, LiveStack] = {}

    @property
    def capabilities(self) -> frozenset[str]:
        """What every stack that we start ourselves can do; clocks, where libfaketime is."""
        return defaults.capabilities()

    def unmet(self, wanted: Configuration) -> list[str]:
        """Nothing: a stack of any configuration can be built."""
        del wanted
        return []

    def lend(self, wanted: Configuration) -> LiveStack:
        """The stack of that configuration, ready for a claim; built when there is none.

        Raises: StackError.
        """
        live = self._live.pop(wanted, None)
        if live is not None and not live.is_usable:
            self._builder.end(live)
            live = None
        if live is None:
            self._make_room()
            live = self._builder.build(wanted)
        self._live[wanted] = live  # the most recently used stands last
        live.begin_claim()
        return live

    def _make_room(self) -> None:
        while len(self._live) >= self._at_most:
            oldest = next(iter(self._live))
            self._builder.end(self._live.pop(oldest))

    def close(self) -> None:
        """End every stack."""
        for live in self._live.values():
            self._builder.end(live)
        self._live.clear()
        self._builder.close()
