"""SQLite's fault: a write lock held from outside. Imports waiting only."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from verification.harness.waiting import came_true

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Transactions of the service are short: the lock is free within this, or never.
LOCK_WITHIN_S = 10.0


class DatabaseLockError(Exception):
    """The lock could not be had, did not bite, or was not given back."""


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


def _can_write(file: Path) -> bool:
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as writer:
        try:
            writer.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        writer.rollback()
        return True
