"""What operators type: parsed, told to the database, and shown."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmhive import cli
from llmhive.app.settings import Settings

BREAKER = "openai:gpt-4o:0"


class Terminal:
    """A data folder of its own, and what its commands print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command; gives the exit code, and what it printed or complained of."""
        code = cli.main(words)
        said = self._capsys.readouterr()
        return code, said.out or said.err

    def told(self, *words: str) -> Any:
        """What a command that went well tells."""
        code, text = self.run(*words, "--json")
        assert code == 0, text
        return json.loads(text)


@pytest.fixture
def terminal(
    tmp_path: Path,
    migrated: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Terminal:
    for name in Settings.__dataclass_fields__:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("LLMHIVE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    made = Terminal(capsys)
    shutil.copy(migrated, tmp_path)
    made.told("keys", "create", "--user", "ada")
    return made


def test_a_limit_is_set_for_a_while_listed_and_cleared(terminal: Terminal) -> None:
    terminal.told("limits", "set", "ada", "--requests-per-min", "100", "--for", "1h")

    listed = terminal.told("limits", "list")["overrides"]
    assert [(each["user"], each["requests_per_min"]) for each in listed] == [("ada", 100)]
    terminal.told("limits", "clear", "ada")
    assert terminal.run("limits", "list") == (0, "none\n")


def test_a_user_who_is_not_there_is_told(terminal: Terminal) -> None:
    words = ("limits", "set", "bob", "--requests-per-min", "100", "--for", "1h")

    assert terminal.run(*words) == (1, "There is no such user.\n")


@pytest.mark.parametrize(
    "words",
    [
        ("limits", "set", "ada", "--requests-per-min", "100"),
        ("limits", "set", "ada", "--requests-per-min", "-1", "--for", "1h"),
        ("limits", "set", "ada", "--requests-per-min", "100", "--for", "never"),
        ("users", "delete"),
        ("users", "delete", "ada", "--tag", "run"),
        ("breakers", "explode", BREAKER),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_usage(terminal: Terminal, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as left:
        terminal.run(*words)

    assert left.value.code == 2


@pytest.mark.parametrize(
    ("action", "ordered"), [("force-open", "open"), ("force-close", "closed"), ("reset", None)]
)
def test_an_order_to_a_breaker_is_kept(
    terminal: Terminal, action: str, ordered: str | None
) -> None:
    terminal.told("breakers", action, BREAKER, "--reason", "incident")

    rows = {row["name"]: row for row in terminal.told("breakers", "list")["breakers"]}
    assert rows[BREAKER] == {
        "name": BREAKER,
        "state": "unknown",
        "ordered": ordered,
        "reason": "incident",
    }


def test_an_unknown_breaker_is_told_with_the_known_ones(terminal: Terminal) -> None:
    code, said = terminal.run("breakers", "reset", "service_name")

    assert (code, BREAKER in said) == (1, True)


def test_a_user_is_deleted_with_everything(terminal: Terminal) -> None:
    terminal.told("limits", "set", "ada", "--requests-per-min", "100", "--for", "1h")

    told = terminal.told("users", "delete", "ada")

    assert told["rows"] == {"api_keys": 1, "limit_overrides": 1, "users": 1}
    assert terminal.run("users", "delete", "ada")[0] == 1
    assert terminal.told("users", "delete", "--tag", "run-1")["deleted"] == 0


def test_a_command_loads_nothing_of_the_application() -> None:
    loaded = "import sys, llmhive.operator_commands; print(*sys.modules)"

    said = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )

    assert {"fastapi", "aiohttp", "uvicorn"} & set(said.stdout.split()) == set()
