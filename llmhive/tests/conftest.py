"""What every white-box test may ask for: a clock of its own, and the events that were logged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from llmhive.app.adapters.sql_database import Database
from llmhive.app.adapters.sql_migrations import migrate
from llmhive.app.telemetry import log
from llmhive.tests.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """A clock that only the test moves."""
    return FakeClock()


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    """Every event that is logged during the test, parsed from its line."""
    lines: list[dict[str, Any]] = []
    log.start(lambda line: lines.append(orjson.loads(line)), level="debug", salt=b"s", mask=None)
    yield lines
    log.stop()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A migrated SQLite database in a file."""
    url = f"sqlite:///{tmp_path / 'llmhive.db'}"
    migrate(url)
    # A busy machine holds locks for longer; who waits for one in vain says so in its test.
    opened = Database(url, busy_timeout_s=20.0)
    yield opened
    opened.close()
