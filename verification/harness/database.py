"""The service's SQLite file from outside: read, locked, or without its tables. Imports waiting."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from verification.harness.waiting import came_true

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

# Transactions of the service are short: the lock is free within this, or never.
LOCK_WITHIN_S = 10.0


class DatabaseLockError(Exception):
    """The lock could not be had, did not bite, or was not given back."""


class DatabaseLossError(Exception):
    """The tables could not be taken away, or not brought back."""


def rows(file: Path) -> Iterator[dict[str, Any]]:
    """Every row of every table, as column -> value, with the table's name as `table`.

    Raises: sqlite3.Error when the file cannot be read.
    """
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as reader:
        reader.row_factory = sqlite3.Row
        tables = reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            all_of = f'SELECT * FROM "{table}"'  # noqa: S608  its own name  # nosec B608
            for row in reader.execute(all_of):
                yield {"table": table, **dict(row)}


@contextmanager
def write_lock(file: Path) -> Iterator[None]:
    """Hold the write lock of an SQLite file; a second writer was refused when the body begins.

    Raises: DatabaseLockError when it does not bite or heal.
    """
    if not file.exists():
        raise DatabaseLockError(f"there is no database file {file.name} to lock")
    with closing(sqlite3.connect(file, timeout=LOCK_WITHIN_S, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        try:
            if _can_write(file):
                raise DatabaseLockError("a second writer got in: the lock does not bite")
            yield
        finally:
            holder.rollback()
    if not came_true(lambda: _can_write(file), within_s=LOCK_WITHIN_S):
        raise DatabaseLockError("no writer gets in after the lock was given back")


@contextmanager
def tables_lost(file: Path) -> Iterator[None]:
    """Take every table away: reads and writes fail at once, as on a database that is not whole.

    No lock does that to readers, whom SQLite lets in beside every writer.
    Raises: DatabaseLossError when they cannot be taken away or brought back.
    """
    if not file.exists():
        raise DatabaseLossError(f"there is no database file {file.name} to lose tables")
    tables = _tables(file)
    lost = {table: f"lost_{table}" for table in tables}
    _rename(file, lost)
    try:
        yield
    finally:
        _rename(file, {away: table for table, away in lost.items()})
    if (found := _tables(file)) != tables:
        raise DatabaseLossError(f"expected the tables {tables} back, got {found}")


def _tables(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as reader:
        every = reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return sorted(name for (name,) in every if not name.startswith("sqlite_"))


def _rename(file: Path, names: Mapping[str, str]) -> None:
    with closing(sqlite3.connect(file, timeout=LOCK_WITHIN_S, isolation_level=None)) as writer:
        try:
            writer.execute("BEGIN IMMEDIATE")
            for old, new in names.items():
                writer.execute(f'ALTER TABLE "{old}" RENAME TO "{new}"')
            writer.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise DatabaseLossError(f"the tables cannot be renamed: {error}") from error


def _can_write(file: Path) -> bool:
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as writer:
        try:
            writer.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        writer.rollback()
        return True
