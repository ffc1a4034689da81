"""The database's door: transactions whole or not at all, one error, real checks, migrations."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, text

from llmhive.app.adapters.probes import DatabaseProbe
from llmhive.app.adapters.sql_database import THREADS, Database, DatabaseError
from llmhive.app.adapters.sql_migrations import is_migrated, migrate
from llmhive.app.adapters.sql_schema import METADATA, users
from llmhive.app.telemetry.health import State
from llmhive.migrations import newest
from llmhive.tests.fakes import let_others_run

ADD = text("INSERT INTO users (id, created_at) VALUES ('ann', 0)")
COUNT = text("SELECT count(*) FROM users")


@pytest.fixture
def file(database: Database, tmp_path: Path) -> Path:
    """The file of the migrated database."""
    assert database.read_now(is_migrated)
    return tmp_path / "llmhive.db"


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Somebody else holds the write lock."""
    with closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.rollback()


def count(connection: Connection) -> int:
    """How many users there are."""
    return int(connection.execute(COUNT).scalar_one())


async def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(ADD)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.run(work)

    assert await database.read(count) == 0


async def test_two_writers_wait_for_each_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'busy.db'}"
    migrate(url)
    database = Database(url, busy_timeout_s=20.0)

    def add(connection: Connection) -> None:
        number = count(connection)
        connection.execute(insert(users).values(id=str(number), created_at=0.0))

    await asyncio.gather(*(database.run(add) for _ in range(20)))

    assert await database.read(count) == 20
    database.close()


async def test_a_lock_that_stays_is_a_database_error_for_writers_only(
    database: Database, file: Path
) -> None:
    hasty = Database(str(database.engine.url), busy_timeout_s=0.05)
    with locked(file):
        readers_see = await database.read(count)
        with pytest.raises(DatabaseError) as caught:
            await hasty.run(lambda connection: connection.execute(ADD))

    hasty.close()
    assert readers_see == 0
    assert (caught.value.code, caught.value.definite) == ("database_unavailable", False)


async def test_readers_never_wait_behind_writers_that_wait(database: Database, file: Path) -> None:
    async def add(number: int) -> None:
        new = insert(users).values(id=str(number), created_at=0.0)
        await database.run(lambda connection: connection.execute(new))

    with locked(file):
        writers = [asyncio.create_task(add(number)) for number in range(2 * THREADS)]
        await let_others_run()
        async with asyncio.timeout(10.0):  # half of what the writers wait
            seen = [await database.read(count) for _ in range(2 * THREADS)]
        ended = [writer for writer in writers if writer.done()]
    await asyncio.gather(*writers)

    assert (set(seen), ended) == ({0}, [])
    assert await database.read(count) == 2 * THREADS


async def test_a_database_that_is_not_there_is_a_database_error(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'no' / 'folder' / 'x.db'}")

    with pytest.raises(DatabaseError):
        await database.read(count)
    database.close()


def test_the_migrations_make_exactly_the_tables_that_the_service_uses(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection)
        return list(compare_metadata(context, METADATA))

    assert database.read_now(differences) == []


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"

    assert migrate(url) == ("", newest())
    assert migrate(url) == (newest(), newest())


def test_a_database_that_is_ahead_is_served(database: Database) -> None:
    ahead = text("UPDATE alembic_version SET version_num = '9999'")
    database.run_now(lambda connection: connection.execute(ahead))

    assert database.read_now(is_migrated)


async def test_the_check_sees_a_lock_and_its_end(database: Database, file: Path) -> None:
    probe = DatabaseProbe(str(database.engine.url))
    before = await probe()
    with locked(file):
        during = await probe()
    after = await probe()

    probe.close()
    assert (before, during, after) == (State.UP, State.READ_ONLY, State.UP)


async def test_the_check_tells_a_database_that_was_never_migrated(tmp_path: Path) -> None:
    probe = DatabaseProbe(f"sqlite:///{tmp_path / 'empty.db'}")

    found = await probe()

    probe.close()
    assert found is State.NOT_MIGRATED


async def test_the_check_leaves_nothing_behind(database: Database) -> None:
    probe = DatabaseProbe(str(database.engine.url))
    await probe()

    probe.close()
    rows = text("SELECT count(*) FROM write_checks")
    assert await database.read(lambda connection: connection.execute(rows).scalar_one()) == 0
