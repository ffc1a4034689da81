"""What every white-box test may ask for: a clock of its own, and the events that were logged."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from llmhive.app.adapters.sql_database import Database
from llmhive.app.adapters.sql_migrations import migrate
from llmhive.app.telemetry import log
from llmhive.tests.fakes import FakeClock

gc.disable()  # loading makes much and drops little


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Let the collector look after what tests make, never again at what was loaded for them."""
    gc.freeze()
    gc.enable()


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


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a migrated database and nothing in it, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "llmhive.db"
    migrate(f"sqlite:///{file}")
    return file


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> Iterator[Database]:
    """A migrated SQLite database in a file."""
    file = shutil.copy(migrated, tmp_path)
    url = f"sqlite:///{file}"
    # A busy machine holds locks for longer; who waits for one in vain says so in its test.
    opened = Database(url, busy_timeout_s=20.0)
    yield opened
    opened.close()
