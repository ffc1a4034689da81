"""A prepared data folder: made once, copied for each stack, kept from who begins by itself."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from verification.harness.stack.prepared_data import OPERATOR, PreparedData

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {"LLMHIVE_ENVIRONMENT": "development"}
KEY = f"key-{OPERATOR}"


@pytest.fixture
def prepared(stand_in: Path, tmp_path: Path) -> PreparedData:
    """Nothing prepared yet; the commands are the stand-in's."""
    assert stand_in.is_dir()
    return PreparedData(folder_at(tmp_path / "worker"), folder_at(tmp_path / "shared"))


def users_in(data: Path) -> list[str]:
    """What the stand-in wrote into its database."""
    with closing(sqlite3.connect(data / "llmhive.db")) as database:
        return [row[0] for row in database.execute("SELECT id FROM seen")]


def folder_at(path: Path) -> Path:
    """An empty data folder."""
    path.mkdir()
    return path


def test_a_copy_holds_the_operators_key_and_belongs_to_one_service(
    prepared: PreparedData, tmp_path: Path
) -> None:
    first, second = folder_at(tmp_path / "first"), folder_at(tmp_path / "second")

    given = prepared.copy_into(first, SETTINGS)
    with closing(sqlite3.connect(first / "llmhive.db")) as database, database:
        database.execute("INSERT INTO seen VALUES ('mine')")
    again = prepared.copy_into(second, SETTINGS)

    assert (given, again) == (KEY, KEY)
    assert (users_in(first), users_in(second)) == ([OPERATOR, "mine"], [OPERATOR])


def test_the_commands_run_once(prepared: PreparedData, tmp_path: Path) -> None:
    for name in ("first", "second"):
        prepared.copy_into(folder_at(tmp_path / name), SETTINGS)

    assert len(list((tmp_path / "shared" / "prepared").glob("command-*.out"))) == 2


def test_workers_that_come_together_share_what_the_first_makes(
    prepared: PreparedData, tmp_path: Path
) -> None:
    data = [folder_at(tmp_path / name) for name in ("first", "second")]
    another = PreparedData(folder_at(tmp_path / "another"), tmp_path / "shared")

    with ThreadPoolExecutor() as pool:
        copies = pool.map(lambda one, at: one.copy_into(at, SETTINGS), [prepared, another], data)
        keys = list(copies)

    assert keys == [KEY, KEY]
    assert [users_in(at) for at in data] == [[OPERATOR], [OPERATOR]]
    assert len(list((tmp_path / "shared" / "prepared").glob("command-*.out"))) == 2


def test_where_the_shared_folder_is_gone_nothing_is_left(
    prepared: PreparedData, tmp_path: Path
) -> None:
    (tmp_path / "shared").rmdir()

    with pytest.raises(FileNotFoundError):
        prepared.copy_into(folder_at(tmp_path / "first"), SETTINGS)

    assert not (tmp_path / "shared").exists()


def test_nothing_but_the_database_is_copied(prepared: PreparedData, tmp_path: Path) -> None:
    prepared.copy_into(folder_at(tmp_path / "first"), SETTINGS)
    (tmp_path / "shared" / "prepared" / "data" / "log-salt").write_bytes(b"salt")
    data = folder_at(tmp_path / "second")

    prepared.copy_into(data, SETTINGS)

    assert [file.name for file in data.iterdir()] == ["llmhive.db"]


@pytest.mark.parametrize(
    "other",
    [{"LLMHIVE_ENVIRONMENT": "production"}, {**SETTINGS, "DATABASE_URL": "sqlite:///elsewhere.db"}],
    ids=["who migrates by itself", "who has another database"],
)
def test_a_service_that_begins_by_itself_finds_an_empty_folder(
    prepared: PreparedData, tmp_path: Path, other: dict[str, str]
) -> None:
    data = folder_at(tmp_path / "first")

    assert prepared.copy_into(data, other) is None
    assert list(data.iterdir()) == []


def test_commands_that_fail_leave_the_folder_empty(
    prepared: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMHIVE_OVERLAY", str(tmp_path))  # where there is no llmhive
    data = folder_at(tmp_path / "first")

    assert prepared.copy_into(data, SETTINGS) is None
    assert list(data.iterdir()) == []
