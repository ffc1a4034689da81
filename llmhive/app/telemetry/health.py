"""What the background checks last saw of every component, and what that adds up to.

Health answers from here and waits for nobody. A component is as old as its last real check;
a check that has not come back for long is no longer believed. Imports the clock only.
Source: DESIGN.md, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from llmhive.app.clock import Clock


class State(StrEnum):
    """How a component stands; breakers have states of their own."""

    UP = "up"
    DOWN = "down"
    DEGRADED = "degraded"
    READ_ONLY = "read_only"
    NOT_MIGRATED = "not_migrated"
    NOT_CONFIGURED = "not_configured"
    UNKNOWN = "unknown"


class Status(StrEnum):
    """How the service stands as a whole."""

    OK = "ok"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"


GOOD: Final = frozenset({State.UP.value, State.NOT_CONFIGURED.value, "closed"})
DATABASE: Final = "database"
PROVIDER: Final = "provider:"
# Every key lookup and every webhook needs the first; there is nothing to answer with
# without the second.
LETHAL: Final = frozenset({State.DOWN.value, State.NOT_MIGRATED.value, State.UNKNOWN.value})


@dataclass(frozen=True, slots=True)
class Component:
    """One component as health shows it; `age_s` is None when it was never really checked."""

    state: str
    age_s: float | None


class HealthBoard:
    """The last word of every check of this worker."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[str, float, float]] = {}
        self._sources: list[Callable[[], Iterable[tuple[str, Component]]]] = []
        self.is_draining = False
        self.has_provider = False

    def saw(self, name: str, state: str, *, believed_for_s: float) -> None:
        """Note the outcome of a real check, just now, and how long it is believed."""
        self._seen[name] = (state, self._clock.monotonic(), believed_for_s)

    def add_source(self, source: Callable[[], Iterable[tuple[str, Component]]]) -> None:
        """Have components told by somebody who always knows, such as the breakers."""
        self._sources.append(source)

    def components(self) -> dict[str, Component]:
        """Every component by its name."""
        now = self._clock.monotonic()
        found = {}
        for name, (state, at, believed_for_s) in self._seen.items():
            age_s = max(0.0, now - at)
            found[name] = Component(state if age_s <= believed_for_s else State.UNKNOWN, age_s)
        for source in self._sources:
            found.update(source())
        return found

    def status(self, components: dict[str, Component]) -> Status:
        """What the components add up to."""
        providers = [
            component.state for name, component in components.items() if name.startswith(PROVIDER)
        ]
        database = components.get(DATABASE, Component(State.UNKNOWN, None)).state
        are_all_down = all(state in LETHAL for state in providers)
        if database in LETHAL or (providers and are_all_down):
            return Status.UNAVAILABLE
        if all(component.state in GOOD for component in components.values()) and providers:
            return Status.OK
        return Status.DEGRADED

    def is_ready(self) -> bool:
        """Whether requests should be sent here: migrated, writable, a provider, not draining."""
        database = self.components().get(DATABASE)
        is_writable = database is not None and database.state == State.UP
        return is_writable and self.has_provider and not self.is_draining
