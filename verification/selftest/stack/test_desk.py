"""The desk: up with what to paste, keys kept, another port when one is taken, gone at the end."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from verification.harness import target_file
from verification.harness.http_client import Http
from verification.harness.stack.programs import ROOT
from verification.harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(120),
    pytest.mark.usefixtures("stand_in"),
]
UP_WITHIN_S = 25.0
ENDED_WITHIN_S = 20.0


@contextmanager
def desk(folder: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A desk that is up, and what it said."""
    said = folder.with_suffix(".said")
    command = [sys.executable, "-m", "verification.harness.desk", "--port", str(port)]
    with said.open("w") as out:
        running = subprocess.Popen(
            [*command, "--folder", str(folder)], cwd=ROOT, stdout=out, stderr=out, text=True
        )
    try:
        yield (
            running,
            eventually(
                said.read_text,
                until=lambda text: "Ctrl-C" in text or running.poll() is not None,
                within_s=UP_WITHIN_S,
                claim="the desk is up",
            ),
        )
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(ENDED_WITHIN_S)


def url_in(said: str) -> str:
    """Where it answers."""
    return said.partition("answers at ")[2].split()[0]


def test_it_answers_where_it_says_and_ends_with_0_when_told(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as (running, said):
        up = Http(url_in(said)).get("/api/health")

    assert up.json()["instance"] == "desk"
    assert running.returncode == 0
    assert Http(url_in(said)).get("/api/health").error == "refused"


def test_keys_outlive_a_restart_and_stand_in_one_private_file(tmp_path: Path) -> None:
    file = tmp_path / "desk" / "secrets.env"
    with desk(tmp_path / "desk") as (_, said):
        first = file.read_text()
    with desk(tmp_path / "desk"):
        second = file.read_text()

    key = target_file.resolve(f"file:{file}#KEY_DESK_FREE")
    assert first == second
    assert f"API_KEY={key}" in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    elsewhere = [path for path in (tmp_path / "desk").rglob("*") if path.is_file() and path != file]
    assert [path.name for path in elsewhere if key.encode() in path.read_bytes()] == []


def test_a_port_that_is_taken_is_said_and_the_next_one_is_used(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with desk(tmp_path / "desk", port) as (_, said):
            answer = Http(url_in(said)).get("/api/health/live")

    assert f"port {port} is taken" in said
    assert (answer.status, url_in(said).endswith(f":{port}")) == (200, False)


def test_a_folder_that_is_in_use_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "desk"
    with desk(folder) as (running, said):
        before = logs_in(folder)
        done = subprocess.run(
            [sys.executable, "-m", "verification.harness.desk", "--folder", str(folder)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=UP_WITHIN_S,
        )  # fmt: skip
        after = logs_in(folder)

    assert (done.returncode, done.stdout) == (3, "")
    assert f"{folder} is in use by process {running.pid} at {url_in(said)};" in done.stderr
    assert before
    assert before <= after


def logs_in(folder: Path) -> set[tuple[str, int]]:
    """Every log by its name and what tells it from one that was made anew."""
    return {(file.name, file.stat().st_ino) for file in (folder / "logs").iterdir()}


@pytest.mark.parametrize("words", [["--port", "70000"], ["--workers", "no"], ["--prot", "1"]])
def test_wrong_options_are_named(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "verification.harness.desk", *words],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 3
    assert words[0] in done.stderr
