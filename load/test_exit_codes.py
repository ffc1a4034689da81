"""Every exit code of `nox -s load`, through nox, which alone knows only 0 and 1."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from load import known_truths
from load.known_truths import Answer, StallingServer, answered
from load.schedule import Stage, Traffic
from verification.harness.stack.programs import ROOT

# `nox -s selftest` says who runs it; the environment for development has one, too.
PYTHONS = (
    os.environ.get("LLMHIVE_NOX_PYTHON", ""),
    str(ROOT / ".venv" / "bin" / "python"),
    str(ROOT / ".nox" / "dev" / "bin" / "python"),
)
NOX = next((path for path in PYTHONS if path and Path(path).exists()), None)
EVERY_KIND = {"chat": 20.0, "stream": 20.0, "health": 20.0, "webhook": 20.0}
LONG, SHORT = Traffic(EVERY_KIND, [Stage(40.0)], 1), Traffic(EVERY_KIND, [Stage(10.0)], 1)

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(NOX is None, reason="no nox: run by `nox -s selftest` there is one"),
    pytest.mark.timeout(120),
]


def nox(*options: str) -> subprocess.CompletedProcess[str]:
    command = [str(NOX), "-m", "nox", "-s", "load", "--", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("wanted", "answer", "code", "verdict"),
    [
        (LONG, StallingServer(20.0, 3.0), 1, "fail: "),
        (SHORT, answered, 2, "unknown: "),
    ],
    ids=["fail", "unknown"],
)
def test_the_verdict_is_the_sessions_exit_code(
    tmp_path: Path, wanted: Traffic, answer: Answer, code: int, verdict: str
) -> None:
    known_truths.write_run(tmp_path, wanted, answer)

    ran = nox("--recheck", str(tmp_path))

    assert (ran.returncode, verdict in ran.stdout) == (code, True), ran.stdout + ran.stderr


def test_what_could_not_run_ends_with_3_and_one_line(tmp_path: Path) -> None:
    ran = nox("--recheck", str(tmp_path / "nowhere"))

    told = [line for line in ran.stderr.splitlines() if line.startswith("could not run: ")]
    assert (ran.returncode, len(told)) == (3, 1), ran.stderr
    assert "Traceback" not in ran.stderr
