"""The way to Redis: one pipelined connection, a deadline, and a breaker of its own.

Nobody waits for a reply longer than the deadline, nothing is sent twice, and a Redis that
is refused, hung, slow, full, read-only or loading is *away*: callers learn it at once,
without a touch of the socket, until a probe in the background finds it well again.
Too much at once is *busy*, and never away: else a burst would switch the limits off.
Source: DESIGN.md, section 3.2; stripe-redis-breakers-providers.md, section 3.5.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Protocol

from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, NoScriptError, RedisError, ResponseError

from llmhive.app.adapters.redis_keys import probe_key
from llmhive.app.adapters.redis_lane import (
    LOOKS,
    Call,
    LateReplyError,
    LostLaneError,
    RedisLane,
    Word,
)
from llmhive.app.clock import Clock, SystemClock
from llmhive.app.errors import CapacityError, DependencyError

# An attempt to connect ends after this long, and attempts begin this far apart: together
# well below the second within which a healed Redis is in use again.
CONNECT_S = 0.4
ATTEMPT_EVERY_S = 0.25
# What one connection carries at a time; REDIS_MAX_CONNECTIONS bounds the sum. With replies
# in 20 ms the default of ten admits 50 000 commands a second, beyond what a worker asks.
COMMANDS_PER_CONNECTION = 100
# A server that cannot write is as good as none: limits and breakers write with every step.
UNUSABLE = re.compile(
    r"\b(READONLY|OOM|LOADING|NOREPLICAS|MISCONF|MASTERDOWN|CLUSTERDOWN|BUSY|NOAUTH|NOPERM)\b"
)


class RedisAwayError(DependencyError):
    """Redis cannot be used now; `definite` says whether the command surely did nothing."""

    code = "redis_away"
    title = "Redis cannot be reached, or cannot do its work."


class RedisBusyError(CapacityError):
    """Redis answers, but this worker has asked for too much at once; nothing was sent."""

    code = "redis_busy"
    title = "Too many commands wait for Redis."


class RedisReplyError(DependencyError):
    """Redis refused this one command and is well otherwise; nothing happened."""

    code = "redis_refused"
    title = "Redis refused a command."


class RedisFailure(StrEnum):
    """Why a command or a connection failed, for the metric."""

    CONNECT = "connect"
    LOST = "lost"
    LATE = "late"
    SILENT = "silent"
    UNUSABLE = "unusable"
    REFUSED = "refused"
    BUSY = "busy"


class RedisObserver(Protocol):
    """Who wants to know; methods are called on the event loop and must return at once."""

    def redis_failed(self, kind: RedisFailure) -> None:
        """A command or an attempt to connect failed."""

    def redis_moved(self, *, is_up: bool) -> None:
        """The link is up or down: said at the first attempt, and whenever it changes."""


class Unobserved:
    """An observer that keeps nothing."""

    def redis_failed(self, kind: RedisFailure) -> None:
        """Nobody asked."""

    def redis_moved(self, *, is_up: bool) -> None:
        """Nobody asked."""


class LuaScript:
    """A script and the digest by which Redis knows it.

    `is_sent_whole` is for a rare one that must do its work although its reply may be lost: the
    reply of a Redis that does not know the digest would be lost as well.
    """

    __slots__ = ("digest", "is_sent_whole", "text")

    def __init__(self, text: str, *, is_sent_whole: bool = False) -> None:
        self.text = text
        self.is_sent_whole = is_sent_whole
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisLink:
    """One worker's link to Redis; connects by itself and belongs to one event loop."""

    def __init__(
        self,
        url: str,
        *,
        max_connections: int = 10,
        deadline_s: float = 0.05,
        observer: RedisObserver | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Takes: a URL as settings let through; another one raises what redis-py says of it."""
        self.is_up = True
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,  # every proxy and every fork speaks it
            socket_timeout=None,
            socket_connect_timeout=CONNECT_S,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        # What cannot be made now can never be: whoever starts the service is told.
        self._pool.make_connection()  # type: ignore[no-untyped-call]
        self._room = max_connections * COMMANDS_PER_CONNECTION
        self._deadline_s = deadline_s
        self._observer = observer or Unobserved()
        self._clock = clock or SystemClock()
        self._waiting: deque[Call] = deque()
        self._lane: RedisLane | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._told: bool | None = None
        self._watchers: list[Callable[[bool], None]] = []

    async def open(self) -> bool:
        """Connect ahead of the first command, and say whether Redis is up."""
        self._start()
        await self._tried.wait()
        return self.is_up

    def watch(self, watcher: Callable[[bool], None]) -> None:
        """Have `watcher` called with True whenever the link comes back, with False when it goes."""
        self._watchers.append(watcher)

    async def script(
        self,
        script: LuaScript,
        keys: Sequence[str],
        args: Sequence[Word],
        *,
        orphaned: Callable[[Any], None] | None = None,
    ) -> Any:
        """Run a script once and give its reply, within the deadline.

        If the caller is cancelled after sending, `orphaned` takes the reply instead.
        Raises: RedisAwayError (`definite` if nothing was sent), RedisBusyError and
        RedisReplyError (both definite).
        """
        words = ("EVALSHA", script.digest, len(keys), *keys, *args)
        if script.is_sent_whole:
            return await self._call(("EVAL", script.text, *words[2:]), orphaned)
        try:
            return await self._call(words, orphaned)
        except NoScriptError:
            return await self._call(("EVAL", script.text, *words[2:]), orphaned)

    async def command(self, *words: Word) -> Any:
        """Run one command; like `script` in every other respect."""
        try:
            return await self._call(words, None)
        except NoScriptError as error:
            raise RedisReplyError(definite=True) from error

    async def close(self) -> None:
        """Let everybody waiting know, and close the connection."""
        keeper, self._keeper = self._keeper, None
        if keeper:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        self.is_up = False
        self._dismiss()

    async def _call(self, words: tuple[Word, ...], orphaned: Callable[[Any], None] | None) -> Any:
        if not self.is_up:
            raise RedisAwayError(definite=True)
        loop = asyncio.get_running_loop()
        call = Call(words, loop.create_future(), orphaned)
        self._waiting.append(call)
        lane = self._lane
        if lane is not None:
            lane.wake()
        else:
            self._start()
        if lane is None or lane.room < len(self._waiting):
            self._give_up_in_time(call)
        try:
            reply = await call.future
        except LateReplyError as error:
            self._observer.redis_failed(RedisFailure.LATE)
            raise RedisAwayError(definite=False) from error
        except LostLaneError as error:
            raise RedisAwayError(definite=False) from error
        if isinstance(reply, ResponseError):
            self._refuse(reply)
        return reply

    def _give_up_in_time(self, call: Call) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(self._deadline_s, self._give_up, call, LOOKS)

    def _give_up(self, call: Call, looks: int) -> None:
        """Tell a caller whose command could not be sent in time, after the loop's last look."""
        if call.sent_at is not None or call.future.done():
            return
        if looks:
            asyncio.get_running_loop().call_soon(self._give_up, call, looks - 1)
            return
        if self._lane is None or self._lane.is_suspect:
            call.future.set_exception(RedisAwayError(definite=True))
            return
        self._observer.redis_failed(RedisFailure.BUSY)
        call.future.set_exception(RedisBusyError(retry_after_s=1))

    def _refuse(self, reply: ResponseError) -> None:
        if isinstance(reply, NoScriptError):
            raise reply
        if not UNUSABLE.search(f"{reply.status_code} {reply}"):
            self._observer.redis_failed(RedisFailure.REFUSED)
            raise RedisReplyError(definite=True) from reply
        if self._lane is not None:
            self._lane.end(RedisFailure.UNUSABLE)
        raise RedisAwayError(definite=True) from reply

    # -- what goes on in the background

    def _start(self) -> None:
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        """Keep a lane open; attempts begin at least ATTEMPT_EVERY_S apart, come what may."""
        while True:
            began = self._clock.monotonic()
            lane = await self._connected()
            self._turn(is_up=lane is not None)
            self._tried.set()
            if lane is not None:
                await self._serve(lane)
            pause = ATTEMPT_EVERY_S * random.uniform(0.8, 1.2)  # noqa: S311 - spreads workers
            await self._clock.sleep(max(0.0, began + pause - self._clock.monotonic()))

    async def _serve(self, lane: RedisLane) -> None:
        self._lane = lane
        lane.wake()
        try:
            why = await lane.ended()
        finally:
            self._lane = None
            # What waits relied on this lane; the next one may be a long time coming.
            for call in self._waiting:
                self._give_up_in_time(call)
            await lane.close()
        kind = RedisFailure(why) if why in set(RedisFailure) else RedisFailure.LOST
        self._observer.redis_failed(kind)
        # A connection merely cut is made anew before anybody is told that Redis is away.
        if kind is not RedisFailure.LOST:
            self._turn(is_up=False)

    async def _connected(self) -> RedisLane | None:
        """A lane to a Redis that answers in time and takes writes, or None."""
        connection, lane = self._pool.make_connection(), None  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(CONNECT_S):
                await connection.connect()
                lane = RedisLane(
                    connection, self._waiting, deadline_s=self._deadline_s, room=self._room
                )
                await self._probe(lane)
        except (RedisError, OSError, LateReplyError, LostLaneError):
            self._observer.redis_failed(RedisFailure.CONNECT)
            await (lane.close() if lane else connection.disconnect(nowait=True))
            return None
        except asyncio.CancelledError:
            await (lane.close() if lane else connection.disconnect(nowait=True))
            raise
        return lane

    async def _probe(self, lane: RedisLane) -> None:
        """See that a write would be taken: LPUSHX to a list that never exists changes nothing."""
        words = ("LPUSHX", probe_key(), "")
        call = Call(words, asyncio.get_running_loop().create_future())
        self._waiting.appendleft(call)
        lane.wake()
        reply = await call.future
        if isinstance(reply, ResponseError) and not isinstance(reply, NoPermissionError):
            raise reply

    def _turn(self, *, is_up: bool) -> None:
        if not is_up:
            self._dismiss()
        if is_up is self._told:
            return
        is_first, self._told, self.is_up = self._told is None, is_up, is_up
        self._observer.redis_moved(is_up=is_up)
        if not (is_first and is_up):
            for watcher in self._watchers:
                watcher(is_up)

    def _dismiss(self) -> None:
        """Tell everybody whose command was not sent that it will not be."""
        waiting = list(self._waiting)
        self._waiting.clear()
        for call in waiting:
            if not call.future.done():
                call.future.set_exception(RedisAwayError(definite=True))
