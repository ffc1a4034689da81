"""What follows a request from its first byte to its last: its id, its deadline, its caller.

Imports the clock and errors only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from llmhive.app.clock import Clock
from llmhive.app.errors import DependencyError


class WallClockExhaustedError(DependencyError):
    """The request's time is over and there is nothing useful to answer (not definite)."""

    code = "wall_clock_exhausted"
    http_status = 504
    title = "The request took longer than it may take."


class Deadline:
    """The one moment by which a request ends, whatever it is doing then."""

    __slots__ = ("_clock", "end_s")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self.end_s = clock.monotonic() + seconds

    def remaining_s(self) -> float:
        """How long the request may still take, never below zero."""
        return max(0.0, self.end_s - self._clock.monotonic())


class CallerWatch:
    """Cancels the request's task as soon as its caller has gone.

    Between `start` and `stop` the task that called `start` may be cancelled; whoever owns
    it asks `has_left` when it meets a CancelledError, and then takes the cancellation back
    by `absorb`. Outside of the two nothing is interrupted, so that what was taken in one
    await (an admission) is not lost.
    """

    __slots__ = ("_gone", "_request", "_watching", "has_left")

    def __init__(self, gone: Callable[[], Awaitable[None]]) -> None:
        """Take `gone`, which returns when the caller has left and may be cancelled before."""
        self._gone = gone
        self._request: asyncio.Task[object] | None = None
        self._watching: asyncio.Task[None] | None = None
        self.has_left = False

    def start(self) -> None:
        """Watch from now on, on behalf of the current task."""
        self._request = asyncio.current_task()
        self._watching = asyncio.create_task(self._watch(), name="caller-watch")

    def stop(self) -> None:
        """Do not interrupt from now on; may be called at any time and again."""
        self._request = None
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def _watch(self) -> None:
        await self._gone()
        if self._request is not None:
            self.has_left = True
            self._request.cancel()

    def absorb(self) -> bool:
        """Take the watch's own cancellation back; False if somebody else cancelled the task too."""
        task = asyncio.current_task()
        return self.has_left and task is not None and task.uncancel() == 0


@dataclass(slots=True)
class RequestContext:
    """One request: `limit_headers` are written at admission and belong on every answer after."""

    request_id: str
    deadline: Deadline
    caller: CallerWatch
    limit_headers: list[tuple[bytes, bytes]] = field(default_factory=list)
