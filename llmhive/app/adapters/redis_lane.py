"""One connection to Redis on which commands and replies flow at the same time.

Whatever waits when the writer's turn comes leaves in one write, so the commands of one
tick of the event loop share one pipeline; replies are matched by their order, late ones
included, so a caller that gave up never shifts the answers of the others.
redis-py connects, authenticates, speaks TLS and reads; it retries nothing here.
Source: DESIGN.md, sections 3.2 and 3.9; performance.md, section 7 (65 us against 9 us).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

Word = str | bytes | int | float

# How often the loop goes round after a deadline before the reply counts as late: once to
# poll the socket, once to wake the reader, once more because uvloop runs timers first.
LOOKS = 3
# A connection is given up after this many deadlines without a reply in time: one slow
# moment costs a few calls, a dead Redis costs 150 ms of them.
SILENT_DEADLINES = 3


class LateReplyError(Exception):
    """Redis did not answer within the deadline; whether it acted is not known."""


class LostLaneError(Exception):
    """The connection ended while a reply was awaited; whether Redis acted is not known."""


@dataclass(slots=True, eq=False)
class Call:
    """A command under way; `orphaned` takes the reply when its caller was cancelled."""

    words: Any  # a tuple of Words; hiredis' stub knows tuples of one only
    future: asyncio.Future[Any]
    orphaned: Callable[[Any], None] | None = None
    sent_at: float | None = None
    is_late: bool = False


class RedisLane:
    """A pipelined connection; ends by itself when Redis closes it or falls silent."""

    def __init__(
        self,
        connection: AbstractConnection,
        waiting: deque[Call],
        *,
        deadline_s: float,
        room: int,
    ) -> None:
        self._connection = connection
        self._waiting = waiting
        self._deadline_s = deadline_s
        self._room = room
        self._sent: deque[Call] = deque()
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._timer: asyncio.Handle | None = None
        self._suspect_since: float | None = None
        self._tasks = [asyncio.ensure_future(self._write()), asyncio.ensure_future(self._read())]

    @property
    def room(self) -> int:
        """How many of the commands that wait may be sent now; none when the lane has ended."""
        return 0 if self._ended.done() else self._room - len(self._sent)

    @property
    def is_suspect(self) -> bool:
        """Whether a reply is overdue and none has come in time since."""
        return self._suspect_since is not None

    def wake(self) -> None:
        """Let the writer take what waits, at the end of this tick."""
        self._wake.set()

    async def ended(self) -> str:
        """Wait until the lane has ended, and say why."""
        return await asyncio.shield(self._ended)

    def end(self, why: str) -> None:
        """End the lane: whoever awaits a reply learns that none will come."""
        if self._ended.done():
            return
        self._ended.set_result(why)
        if self._timer:
            self._timer.cancel()
        sent, self._sent = self._sent, deque()
        for call in sent:
            if not call.future.done():
                call.future.set_exception(LostLaneError())

    async def close(self) -> None:
        """End the lane and give its connection back to the system."""
        self.end("closed")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._connection.disconnect(nowait=True)

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                batch = self._take()
                if batch:
                    await self._connection.send_packed_command(batch, check_health=False)
        except (RedisError, OSError):
            self.end("lost")

    def _take(self) -> list[bytes]:
        """Move what may be sent to what is sent; a call whose caller has gone is dropped."""
        now, waiting = self._loop.time(), self._waiting
        batch: list[bytes] = []
        while waiting and self.room > 0:
            call = waiting.popleft()
            if call.future.done():
                continue
            call.sent_at = now
            self._sent.append(call)
            batch.append(hiredis.pack_command(call.words))
        if batch and self._timer is None:
            self._timer = self._loop.call_at(now + self._deadline_s, self._look, LOOKS)
        return batch

    async def _read(self) -> None:
        read = self._connection.read_response
        try:
            while True:
                try:
                    reply = await read(timeout=math.inf, disconnect_on_error=False)
                except ResponseError as error:
                    reply = error
                self._deliver(reply)
        except (RedisError, OSError) as error:
            self.end(type(error).__name__ if isinstance(error, RedisError) else "lost")

    def _deliver(self, reply: Any) -> None:
        call = self._sent.popleft()
        if not call.is_late:
            self._suspect_since = None
        if not call.future.done():
            call.future.set_result(reply)
        elif call.orphaned and call.future.cancelled() and not isinstance(reply, ResponseError):
            call.orphaned(reply)
        if self._waiting:
            self._wake.set()

    def _look(self, looks: int, overdue_at: float | None = None) -> None:
        """Judge replies that were overdue when the looking began: the loop looks for them first."""
        overdue_at = self._loop.time() if overdue_at is None else overdue_at
        if looks:
            self._timer = self._loop.call_soon(self._look, looks - 1, overdue_at)
            return
        self._timer = None
        due = self._expire(overdue_at)
        if self._suspect_since is not None:
            end = self._suspect_since + SILENT_DEADLINES * self._deadline_s
            if overdue_at >= end:
                self.end("silent")
                return
            # What is sent from now on is due after the deadline, which may be before the end.
            due = min(due, end, overdue_at + self._deadline_s)
        if due < math.inf:
            self._timer = self._loop.call_at(due, self._look, LOOKS)

    def _expire(self, now: float) -> float:
        """Tell every overdue caller, and give the time when the next one is due."""
        for call in self._sent:
            assert call.sent_at is not None  # noqa: S101 - whatever is sent has a time
            due = call.sent_at + self._deadline_s
            if due > now:
                return due
            if call.is_late:
                continue
            call.is_late = True
            if self._suspect_since is None:
                self._suspect_since = call.sent_at
            if not call.future.done():
                call.future.set_exception(LateReplyError())
        return math.inf
