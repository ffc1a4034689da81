"""The background checks behind health: each dependency asked for real, again and again.

One loop per dependency, so that one that hangs keeps no other waiting. Checks are made by
every worker, since what one worker reaches another may not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from sqlalchemy import delete, insert
from sqlalchemy.engine import Connection, Engine

from llmhive.app.adapters.sql_database import DatabaseError, engine_for, translated
from llmhive.app.adapters.sql_migrations import is_migrated
from llmhive.app.adapters.sql_schema import write_checks
from llmhive.app.clock import Clock
from llmhive.app.errors import LLMHiveError
from llmhive.app.telemetry.health import DATABASE, HealthBoard, State

# A writer holds SQLite's lock for milliseconds; who waits for a second waits for a stuck one.
LOCK_WAIT_S: Final = 1.0
# A TCP handshake around the world takes 0.3 s; lost packets are sent again after 1 s.
CONNECT_S: Final = 2.0
# While a database is not migrated, somebody is about to: they take less than a second.
NOT_YET_S: Final = 0.05
# Strangers' servers are asked less often than our own; the breakers know sooner anyway.
PROVIDER_INTERVALS: Final = 5
# A check that has not come back after two more intervals and the slowest check hangs.
BELIEVED_INTERVALS: Final = 2
SLOWEST_S: Final = 3.0
REDIS_TRIES: Final = 2


class Commands(Protocol):
    """The link to Redis."""

    async def command(self, *words: str | bytes | float) -> Any:
        """Run one command."""


class DatabaseProbe:
    """Reads and writes for real, and takes the writing back, on a connection of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: Engine | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database-probe")

    async def __call__(self) -> State:
        """How the database stands now; waits for a lock for at most a second."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._check)

    def close(self) -> None:
        """Give the connection back."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._engine is not None:
            self._engine.dispose()

    def _check(self) -> State:
        try:
            if not self._run(is_migrated, is_read=True):
                return State.NOT_MIGRATED
        except DatabaseError:
            return State.DOWN
        try:
            self._run(_write, is_read=False)
        except DatabaseError:
            return State.READ_ONLY
        return State.UP

    def _run(self, work: Callable[[Connection], Any], *, is_read: bool) -> Any:
        if self._engine is None:
            self._engine = engine_for(self._url, busy_timeout_s=LOCK_WAIT_S)
        with translated(), self._engine.connect() as connection:
            transaction = connection.execution_options(is_read=is_read).begin()
            try:
                return work(connection)
            finally:
                transaction.rollback()


def _write(connection: Connection) -> None:
    connection.execute(delete(write_checks))
    connection.execute(insert(write_checks).values(id="check", checked_at=0.0))


async def _redis(link: Commands) -> State:
    """Whether Redis answers within the deadline; one late answer is no outage."""
    for _ in range(REDIS_TRIES):
        with suppress(LLMHiveError):
            await link.command("PING")
            return State.UP
    return State.DOWN


async def _reachable(address: tuple[str, int]) -> State:
    """Whether somebody accepts connections there; nothing is sent, so nothing is paid."""
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(*address)
    except (OSError, TimeoutError):
        return State.DOWN
    writer.close()
    return State.UP


def address_of(url: str) -> tuple[str, int]:
    """Host and port that a base URL stands for."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme, 443)


@dataclass(frozen=True, slots=True)
class Reached:
    """Whether a provider could be reached, and when that was seen."""

    state: State
    at_s: float


class Probes:
    """Every background check of one worker."""

    def __init__(self, board: HealthBoard, *, interval_s: float, clock: Clock) -> None:
        self._board = board
        self._interval_s = interval_s
        self._clock = clock
        self._checks: dict[str, tuple[Callable[[], Awaitable[State]], float]] = {}
        self.reached: dict[str, Reached] = {}

    def watch_database(self, probe: Callable[[], Awaitable[State]]) -> None:
        """Check the database."""
        self._checks[DATABASE] = (probe, self._interval_s)

    def watch_redis(self, link: Commands) -> None:
        """Check Redis."""
        self._checks["redis"] = (partial(_redis, link), self._interval_s)

    def watch_provider(self, name: str, url: str) -> None:
        """Check that a provider can be reached; see `reached`."""
        check = partial(self._reach, name, address_of(url))
        self._checks[f"provider:{name}"] = (check, self._interval_s * PROVIDER_INTERVALS)

    async def _reach(self, name: str, address: tuple[str, int]) -> State:
        state = await _reachable(address)
        self.reached[name] = Reached(state, self._clock.monotonic())
        return state

    def age_s(self, provider: str) -> float:
        """How long ago a provider was last looked for."""
        return self._clock.monotonic() - self.reached[provider].at_s

    async def once(self) -> None:
        """Make every check once, all at the same time."""
        await asyncio.gather(*(self._check(name) for name in self._checks))

    async def run_forever(self) -> None:
        """Go on checking, each dependency at its own pace."""
        async with asyncio.TaskGroup() as group:
            for name in self._checks:
                group.create_task(self._repeat(name))

    async def _check(self, name: str) -> State:
        check, every_s = self._checks[name]
        state = await check()
        self._board.saw(name, state, believed_for_s=every_s * BELIEVED_INTERVALS + SLOWEST_S)
        return state

    async def _repeat(self, name: str) -> None:
        every_s = self._checks[name][1]
        while True:
            state = await self._check(name)
            wait_s = min(every_s, NOT_YET_S) if state is State.NOT_MIGRATED else every_s
            await self._clock.sleep(wait_s)
