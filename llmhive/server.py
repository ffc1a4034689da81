"""uvicorn with our way to stop: not ready at once, still accepting, then finishing, then out.

uvicorn closes its listener at the first signal; balancers learn of that later than the
callers they send here. Source: DESIGN.md, section 3.8.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator
from typing import Any, Final

import uvicorn

from llmhive.app.clock import Clock
from llmhive.app.settings import Settings
from llmhive.app.telemetry import log
from llmhive.app.telemetry.health import HealthBoard
from llmhive.http_protocol import GuardedProtocol

# The `Date` of answers is renewed this often.
TICK_S: Final = 0.5
# A connection accepted at the last moment brings its request within a round trip.
LINGER_S: Final = 0.1
# How often the end of what is in flight is looked for.
LOOK_S: Final = 0.02
# What is cancelled sends its last event and ends; whoever does not is not waited for.
CANCELLED_S: Final = 2.0
BACKLOG: Final = 2048


class DrainingServer(uvicorn.Server):
    """Serves one inherited socket until `stop`."""

    def __init__(self, app: Any, settings: Settings, board: HealthBoard, clock: Clock) -> None:
        config = uvicorn.Config(
            app,
            http=GuardedProtocol,
            ws="none",
            loop="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type]  # call_later takes floats
        )
        super().__init__(config)
        self._settings = settings
        self._board = board
        self._clock = clock
        self._stopping = asyncio.Event()
        self._drain_s = settings.drain_seconds
        self._grace_s = settings.shutdown_grace_s
        self.has_started = asyncio.Event()
        self.was_clean = True

    def stop(self, *, drain_s: float | None = None, grace_s: float | None = None) -> None:
        """Begin to end: from now on this process is not ready. Again changes nothing."""
        if self._stopping.is_set():
            return
        self._drain_s = self._drain_s if drain_s is None else drain_s
        self._grace_s = self._grace_s if grace_s is None else grace_s
        self._board.is_draining = True
        log.event("draining", drain_s=self._drain_s, grace_s=self._grace_s)
        self._stopping.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the worker."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections."""
        await super().startup(sockets)
        self.has_started.set()

    async def main_loop(self) -> None:
        """Serve until `stop`, and for the drain after it."""
        await self._tick_until(self._stopping, None)
        await self._tick_until(asyncio.Event(), self._clock.monotonic() + self._drain_s)

    async def _tick_until(self, event: asyncio.Event, end_s: float | None) -> None:
        while not event.is_set():
            await self.on_tick(0)
            left_s = TICK_S if end_s is None else end_s - self._clock.monotonic()
            if left_s <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(TICK_S, left_s)):
                    await event.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, finish what is in flight within the grace, cancel the rest."""
        await self._clock.sleep(0)  # whoever has connected by now is accepted first
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        await self._clock.sleep(LINGER_S)
        end_s = self._clock.monotonic() + self._grace_s
        while self._is_busy() and self._clock.monotonic() < end_s:
            await self._clock.sleep(LOOK_S)
        if self._is_busy():
            await self._cancel()

    def _is_busy(self) -> bool:
        for connection in list(self.server_state.connections):
            connection.shutdown()  # idle ones are closed, the others after their answer
        return bool(self.server_state.tasks)

    async def _cancel(self) -> None:
        self.was_clean = False
        tasks = list(self.server_state.tasks)
        log.event("grace_over", level="warning", cancelled=len(tasks))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=CANCELLED_S)
        end_s = self._clock.monotonic() + CANCELLED_S
        while self.server_state.connections and self._clock.monotonic() < end_s:
            for connection in list(self.server_state.connections):
                connection.transport.close()
            await self._clock.sleep(LOOK_S)
