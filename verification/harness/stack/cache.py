"""The live stack of one worker process, kept while claims ask for its configuration.

One, not several: a stack that idles probes and is probed, which costs the claims that run, and
a worker goes on with one configuration, so that a second would hardly be met again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from verification.harness.stack import defaults

if TYPE_CHECKING:
    from verification.harness.stack.configuration import Configuration
    from verification.harness.stack.local import LiveStack


class Builder(Protocol):
    """Builds and ends stacks."""

    def build(self, wanted: Configuration) -> LiveStack:
        """A stack of that configuration."""

    def end(self, live: LiveStack) -> None:
        """End one stack."""

    def close(self) -> None:
        """End what the stacks share."""


class StackCache:
    """Lends the live stack, ends it when another configuration is wanted."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._live: tuple[Configuration, LiveStack] | None = None

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
        if self._live is not None and (self._live[0] != wanted or not self._live[1].is_usable):
            self._end()
        if self._live is None:
            self._live = wanted, self._builder.build(wanted)
        live = self._live[1]
        live.begin_claim()
        return live

    def _end(self) -> None:
        if self._live is not None:
            (_, live), self._live = self._live, None
            self._builder.end(live)

    def close(self) -> None:
        """End the stack and what stacks share."""
        self._end()
        self._builder.close()
