"""Which change the database has, which one this version needs, and the way there.

Alembic is imported only when something is to be done; asking costs one query. A database
that is ahead is fine: the previous version works on it while a change rolls out.
"""

from __future__ import annotations

from sqlalchemy import exc, inspect, text
from sqlalchemy.engine import Connection

from llmhive.app.adapters.sql_database import engine_for, translated
from llmhive.migrations import FOLDER, newest

# Waiting for somebody else's migration: they take milliseconds on SQLite, seconds elsewhere.
LOCK_WAIT_S = 30.0


def current(connection: Connection) -> str:
    """The revision that the database has; empty when it was never migrated."""
    try:
        found = connection.execute(text("SELECT max(version_num) FROM alembic_version")).scalar()
    except (exc.OperationalError, exc.ProgrammingError):
        if inspect(connection).has_table("alembic_version"):
            raise
        return ""
    return str(found or "")


def is_migrated(connection: Connection) -> bool:
    """Whether the database has at least what this version needs."""
    return current(connection) >= newest()


def migrate(url: str) -> tuple[str, str]:
    """Bring the database to the newest revision in one transaction; gives before and after.

    Raises: DatabaseError when it cannot be reached or stays locked.
    """
    from alembic import command  # noqa: PLC0415  workers never need it
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    engine = engine_for(url, busy_timeout_s=LOCK_WAIT_S)
    try:
        with translated(), engine.begin() as connection:
            before = current(connection)
            config.attributes["connection"] = connection
            if before < newest():
                command.upgrade(config, "head")
            return before, current(connection)
    finally:
        engine.dispose()
