"""The simulators as child processes, lent to one stack at a time and used again.

A stack has three of its own while it lives, so that its journals hold its own calls only.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from verification.harness.processes import Child, keeper
from verification.harness.simulated import SimulatedProvider, SimulatedStripe
from verification.harness.stack.programs import ROOT
from verification.harness.toxiproxy_link import LOOPBACK

if TYPE_CHECKING:
    from pathlib import Path

    from verification.harness.stack.defaults import Canaries

FOLDER: Final = ROOT / "verification" / "simulators"
# Link name -> what is run.
PROGRAMS: Final = {
    "openai": ["llm.py", "--kind", "openai"],
    "anthropic": ["llm.py", "--kind", "anthropic"],
    "stripe": ["stripe_api.py"],
}


@dataclass(frozen=True, slots=True)
class Trio:
    """Two providers and Stripe, running."""

    ports: dict[str, int]
    children: tuple[Child, ...]

    @property
    def is_alive(self) -> bool:
        """All three run still."""
        return all(child.is_alive for child in self.children)

    def address(self, name: str) -> str:
        """host:port of one of them."""
        return f"{LOOPBACK}:{self.ports[name]}"

    def provider(self, name: str, key: str) -> SimulatedProvider:
        """A provider as a claim scripts it."""
        return SimulatedProvider(name, f"http://{self.address(name)}", key=key)

    def providers(self, canaries: Canaries) -> dict[str, SimulatedProvider]:
        """Both providers, by name."""
        keys = {"openai": canaries.openai, "anthropic": canaries.anthropic}
        return {name: self.provider(name, key) for name, key in keys.items()}

    def stripe(self, key: str) -> SimulatedStripe:
        """Stripe as a claim scripts it."""
        return SimulatedStripe("stripe", f"http://{self.address('stripe')}", key=key)


class TrioPool:
    """Starts simulators and keeps those that a finished stack gave back, while they run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._free: list[Trio] = []
        self._numbers = itertools.count(1)

    def take(self) -> Trio:
        """Simulators that nobody else uses."""
        while self._free:
            if (trio := self._free.pop()).is_alive:
                return trio
        number = next(self._numbers)
        children = {name: self._start(name, number) for name in PROGRAMS}
        said = {name: child.announced("listening") for name, child in children.items()}
        ports = {name: int(fact["listening"]) for name, fact in said.items()}
        return Trio(ports, tuple(children.values()))

    def give_back(self, trio: Trio) -> None:
        """Let another stack use them."""
        self._free.append(trio)

    def _start(self, name: str, number: int) -> Child:
        program, *options = PROGRAMS[name]
        return keeper().start(
            [sys.executable, FOLDER / program, *options, "--port", "0"],
            name=f"{name}-{number}",
            folder=self._folder,
            env={},
            lifetime_pipe=True,
        )
