"""An event loop whose time passes at once whenever everybody waits: no test waits for real.

Time-outs of asyncio and clocks that read the loop agree. For code without I/O of its own.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec

from llmhive.app.clock import SystemClock

P = ParamSpec("P")
# Away from zero, where mistakes hide.
START_S = 5000.0


class _PatientSelector(selectors.DefaultSelector):
    """Passes time instead of waiting."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise AssertionError("Everybody waits, and nothing will ever happen.")
        self.loop.now_s += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop that owns its time."""

    def __init__(self) -> None:
        selector = _PatientSelector()
        selector.loop = self
        self.now_s = START_S
        super().__init__(selector)

    def time(self) -> float:
        return self.now_s


class LoopClock(SystemClock):
    """The clock of the running loop."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return 1_790_000_000.0 + self.monotonic()


async def wait(seconds: float) -> None:
    """Let virtual seconds pass."""
    await LoopClock().sleep(seconds)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test's coroutine on a loop of its own with virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


async def elapsed_s(work: Awaitable[object]) -> float:
    """How many virtual seconds an awaitable takes."""
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    await work
    return loop.time() - started_s
