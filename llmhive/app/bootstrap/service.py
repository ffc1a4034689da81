"""One worker's service as it lives: what is opened before, what runs beside, what is closed after.

Names no adapter; the composition is in the package's other modules.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from llmhive.app.api.application import App
from llmhive.app.api.refusals import ProblemRefusals
from llmhive.app.clock import Clock
from llmhive.app.telemetry import log
from llmhive.app.telemetry.health import HealthBoard

# A background task that broke is begun again, but not in a circle that burns a core.
RESTART_S: Final = 1.0
# What is closed at the end waits for nobody longer: the last reports, the last connections.
CLOSE_S: Final = 2.0

Background = Callable[[], Coroutine[Any, Any, Any]]


@dataclass(slots=True)
class Lifetime:
    """Steps in the order in which features add them; `after` runs backwards."""

    before: list[Callable[[], Awaitable[Any]]] = field(default_factory=list)
    beside: dict[str, Background] = field(default_factory=dict)
    after: list[Callable[[], Awaitable[Any]]] = field(default_factory=list)


@dataclass(slots=True)
class Service:
    """One worker's service: the app, and what runs behind it."""

    app: App
    board: HealthBoard
    refusals: ProblemRefusals
    lifetime: Lifetime
    clock: Clock
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        """Open what has to be open before the first request, then start what runs beside."""
        for step in self.lifetime.before:
            await step()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._keep(name, work), name=name)
            for name, work in self.lifetime.beside.items()
        ]

    async def stop(self) -> None:
        """End what runs beside, and close what is open; what breaks then is told and left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for step in reversed(self.lifetime.after):
            try:
                async with asyncio.timeout(CLOSE_S):
                    await step()
            except Exception as error:  # noqa: BLE001  the rest has to be closed too
                log.failure("close_failed", error)

    async def _keep(self, name: str, work: Background) -> None:
        """Run background work for ever; what breaks is told and begun again."""
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001  the background supervisor
                log.failure("background_failed", error, task=name)
            await self.clock.sleep(RESTART_S)
