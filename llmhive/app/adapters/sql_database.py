"""The database behind one door: short transactions in threads of its own, one kind of error.

SQLite transactions that write begin with BEGIN IMMEDIATE, so that two of them never deadlock
on an upgrade; reads are deferred and, under WAL, never wait for a writer.
Source: sqlite.org/lang_transaction.html, sqlite.org/wal.html.
"""

from __future__ import annotations

import asyncio
import contextvars
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

import sqlalchemy
from sqlalchemy import event, exc
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.pool import QueuePool

from llmhive.app.errors import DependencyError

T = TypeVar("T")

# Of each kind. SQLite takes one writer at a time; writers who wait for it hold up no reader.
THREADS: Final = 4
# A connection that could not be had within a second is not worth a caller's patience.
POOL_WAIT_S: Final = 1.0

# The last one comes unwrapped from the statements that prepare a new connection.
AWAY: Final = (
    exc.OperationalError,
    exc.InterfaceError,
    exc.InternalError,
    exc.TimeoutError,
    sqlite3.OperationalError,
)


class DatabaseError(DependencyError):
    """The database cannot be reached, or is locked; whether a commit took place is not known."""

    code = "database_unavailable"
    title = "The database cannot be used at the moment."


def engine_for(url: str, *, busy_timeout_s: float) -> Engine:
    """An engine whose SQLite connections use WAL, foreign keys and an explicit BEGIN."""
    parsed = make_url(url)
    options: dict[str, Any] = {"hide_parameters": True, "pool_timeout": POOL_WAIT_S}
    if parsed.get_backend_name() == "sqlite":
        options |= {
            "poolclass": QueuePool,
            "connect_args": {"timeout": busy_timeout_s, "check_same_thread": False},
        }
    engine = sqlalchemy.create_engine(
        parsed,
        pool_size=2 * THREADS,
        max_overflow=1,
        pool_pre_ping=not parsed.drivername.startswith("sqlite"),
        **options,
    )
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # BEGIN is ours to say
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    # A commit that was answered for must survive the loss of power as well.
    cursor.execute("PRAGMA synchronous=FULL")
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    is_read = connection.get_execution_options().get("is_read", False)
    connection.exec_driver_sql("BEGIN" if is_read else "BEGIN IMMEDIATE")


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver says into DatabaseError, the cause kept."""
    try:
        yield
    except AWAY as error:
        raise DatabaseError from error
    except exc.DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseError from error
        raise


class Database:
    """Transactions on one database, from coroutines."""

    def __init__(self, url: str, *, busy_timeout_s: float = 2.0) -> None:
        """Takes: an SQLAlchemy URL; how long a writer waits for SQLite's lock."""
        self._url = url
        self._busy_timeout_s = busy_timeout_s
        self._engine: Engine | None = None
        self._writers = ThreadPoolExecutor(THREADS, thread_name_prefix="database-write")
        self._readers = ThreadPoolExecutor(THREADS, thread_name_prefix="database-read")

    @property
    def engine(self) -> Engine:
        """The engine, made on first use."""
        if self._engine is None:
            self._engine = engine_for(self._url, busy_timeout_s=self._busy_timeout_s)
        return self._engine

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in one transaction that may write: all of it, or nothing.

        Raises: DatabaseError (not definite) when the database is away or stays locked.
        """
        return await _in_thread(self._writers, partial(self._transact, work, is_read=False))

    async def run_racing(self, work: Callable[[Connection], T]) -> T:
        """The same as `run`, for work that may insert a key which somebody inserts meanwhile.

        Then it is done once more, and finds what the other one left.
        """
        try:
            return await self.run(work)
        except exc.IntegrityError:
            return await self.run(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in one transaction that only reads, and waits for no writer.

        Raises: DatabaseError when the database is away.
        """
        return await _in_thread(self._readers, partial(self._transact, work, is_read=True))

    def run_now(self, work: Callable[[Connection], T]) -> T:
        """The same as `run`, for commands that have no event loop."""
        return self._transact(work, is_read=False)

    def read_now(self, work: Callable[[Connection], T]) -> T:
        """The same as `read`, for commands that have no event loop."""
        return self._transact(work, is_read=True)

    def close(self) -> None:
        """Give back all connections; transactions that run are not waited for."""
        for threads in (self._writers, self._readers):
            threads.shutdown(wait=False, cancel_futures=True)
        if self._engine is not None:
            self._engine.dispose()

    def _transact(self, work: Callable[[Connection], T], *, is_read: bool) -> T:
        with translated(), self.engine.connect() as connection:
            chosen = connection.execution_options(is_read=is_read)
            with chosen.begin():
                return work(chosen)


async def _in_thread(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(threads, lambda: context.run(work))
