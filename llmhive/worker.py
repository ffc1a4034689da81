"""One worker process: serves the inherited socket until SIGTERM, or until its supervisor is gone.

Exit codes: 0 everything in flight was finished, 1 something was cut, 3 it could not start.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import threading
from dataclasses import dataclass
from typing import Final

import uvloop

from llmhive.app.bootstrap import composition
from llmhive.app.clock import SystemClock
from llmhive.app.settings import Settings
from llmhive.app.telemetry import metrics
from llmhive.http_protocol import GuardedProtocol
from llmhive.log_output import start_worker_logging
from llmhive.server import DrainingServer

# An orphan has no operator who waits for it: what takes longer is cut.
ORPHAN_GRACE_S: Final = 1.0
ORPHAN_EXIT_S: Final = 4.0
# Generation 0 after 20 000 allocations rather than 700: a request makes hundreds, all short-lived.
GC_THRESHOLDS: Final = (20_000, 50, 100)
# The last lines are worth a moment; a reader that sleeps is not.
LAST_LINES_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Given:
    """What a worker has from its supervisor: the socket, and descriptors of two pipes.

    `lifetime` ends when the supervisor is gone; a word in `status` says that it serves.
    """

    socket: socket.socket
    lifetime: int
    status: int


def run(settings: Settings, given: Given) -> int:
    """Be a worker, in a process of its own; gives the exit code."""
    gc.disable()  # until everything stands: composing makes no garbage either
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor hears it too
    metrics.begin_process()
    lines = start_worker_logging(
        settings, composition.worker_name(), on_drop=metrics.LOG_LINES_DROPPED.inc
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(settings, given))
    finally:
        lines.close(LAST_LINES_S)


async def _serve(settings: Settings, given: Given) -> int:
    service = composition.build(settings)
    GuardedProtocol.refusals = service.refusals
    GuardedProtocol.body_s = settings.body_deadline_s
    GuardedProtocol.unread_s = settings.unread_deadline_s
    server = DrainingServer(service.app, settings, service.board, SystemClock())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, server.stop)
    _watch_lifetime(given.lifetime, loop, server)
    await service.start()
    serving = loop.create_task(server.serve([given.socket]))
    await server.has_started.wait()
    _settle_memory()
    os.write(given.status, b"up")
    await serving
    await service.stop()
    return 0 if server.was_clean else 1


def _settle_memory() -> None:
    """What lives since the start lives on: never look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()


def _watch_lifetime(
    descriptor: int, loop: asyncio.AbstractEventLoop, server: DrainingServer
) -> None:
    """End when the supervisor is gone, however it went; in a thread, since the loop may hang."""

    def wait() -> None:
        os.read(descriptor, 1)
        loop.call_soon_threadsafe(lambda: server.stop(drain_s=0.0, grace_s=ORPHAN_GRACE_S))
        threading.Event().wait(ORPHAN_EXIT_S)
        os._exit(1)

    threading.Thread(target=wait, name="lifetime", daemon=True).start()
