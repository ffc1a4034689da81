"""SQLite from outside: every row is read; locks and losses bite, and are given back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from verification.harness.database import (
    DatabaseLockError,
    DatabaseLossError,
    rows,
    tables_lost,
    write_lock,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["wal", "delete"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A database in either journal mode."""
    found = tmp_path / "service.db"
    with closing(sqlite3.connect(found)) as made:
        made.execute(f"PRAGMA journal_mode={request.param}")
        made.execute("CREATE TABLE seen (id TEXT)")
        made.commit()
    return found


def write(file: Path) -> None:
    """Add a row, waiting for nobody."""
    with closing(sqlite3.connect(file, timeout=0)) as writer:
        writer.execute("INSERT INTO seen VALUES ('x')")
        writer.commit()


def shapes_of(database: sqlite3.Connection) -> list[str]:
    """What every table was made with; a name that came back has quotes."""
    made = database.execute("SELECT sql FROM sqlite_master").fetchall()
    return [text.replace('"', "") for (text,) in made]


def test_nobody_writes_while_the_lock_is_held(file: Path) -> None:
    with write_lock(file), pytest.raises(sqlite3.OperationalError, match="locked"):
        write(file)


def test_writers_get_in_again_after_a_failed_claim(file: Path) -> None:
    with pytest.raises(LookupError), write_lock(file):
        raise LookupError

    write(file)


def test_a_database_that_is_not_there_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(DatabaseLockError, match="no database file"), write_lock(tmp_path / "no.db"):
        pytest.fail("the body began without a lock")


def test_whoever_had_it_open_reads_nothing_while_tables_are_lost_and_all_of_it_after(
    file: Path,
) -> None:
    with closing(sqlite3.connect(file)) as service:
        service.execute("CREATE TABLE of (seen TEXT REFERENCES seen (id))")
        service.execute("INSERT INTO seen VALUES ('x')")
        service.commit()
        shapes = shapes_of(service)

        with pytest.raises(sqlite3.OperationalError, match="no such table"), tables_lost(file):
            service.execute("SELECT * FROM seen")

        assert service.execute("SELECT * FROM seen").fetchall() == [("x",)]
        assert shapes_of(service) == shapes


def test_a_database_that_is_not_there_has_no_tables_to_lose(tmp_path: Path) -> None:
    with pytest.raises(DatabaseLossError, match="no database file"), tables_lost(tmp_path / "no"):
        pytest.fail("the body began without a loss")


def test_every_row_is_read_also_what_no_file_but_the_log_has_yet(file: Path) -> None:
    with closing(sqlite3.connect(file)) as service:
        service.execute("CREATE TABLE others (name TEXT, number INTEGER)")
        service.execute("INSERT INTO seen VALUES ('x')")
        service.execute("INSERT INTO others VALUES ('y', 1)")
        service.commit()

        found = list(rows(file))

    assert found == [{"table": "seen", "id": "x"}, {"table": "others", "name": "y", "number": 1}]


def test_reading_rows_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.Error):
        list(rows(tmp_path / "no.db"))

    assert list(tmp_path.iterdir()) == []
