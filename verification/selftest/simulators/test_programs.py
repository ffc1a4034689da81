"""The simulators as programs: what they announce, how they end, what they refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from verification.harness.stack.simulators import FOLDER, PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHIN_S = 10.0


@pytest.fixture(params=list(PROGRAMS))
def started(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A simulator on a pipe, without an environment."""
    program, *options = PROGRAMS[request.param]
    with subprocess.Popen(
        [sys.executable, FOLDER / program, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={},
    ) as child:
        yield child
        child.kill()


def announced(child: subprocess.Popen[str]) -> dict[str, Any]:
    """What it says first."""
    assert child.stdout is not None
    said: dict[str, Any] = json.loads(child.stdout.readline())
    return said


def test_a_simulator_announces_its_port_in_one_line(started: subprocess.Popen[str]) -> None:
    said = announced(started)

    assert (said["pid"], 0 < said["listening"] < 65536) == (started.pid, True)


def test_a_simulator_ends_on_sigterm(started: subprocess.Popen[str]) -> None:
    announced(started)

    started.terminate()

    assert started.wait(WITHIN_S) == 0


def test_a_simulator_ends_with_whoever_started_it(started: subprocess.Popen[str]) -> None:
    announced(started)
    assert started.stdin is not None

    started.stdin.close()

    assert started.wait(WITHIN_S) == 0


def test_a_port_in_use_is_one_clear_line(started: subprocess.Popen[str]) -> None:
    port = str(announced(started)["listening"])

    second = subprocess.run(
        [sys.executable, FOLDER / "stripe_api.py", "--port", port],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )

    assert (second.returncode, second.stderr.count("\n")) == (3, 1)
    assert f"cannot listen on 127.0.0.1:{port}" in second.stderr
