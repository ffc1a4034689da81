"""Every exit code of `nox -s chaos`, through nox, which alone knows only 0 and 1."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from chaos.selftest.test_command import keep
from chaos.selftest.test_judgement import performed
from verification.harness.stack.programs import ROOT
from verification.history import History, Outcome

# `nox -s selftest` says who runs it; the environment for development has one, too.
PYTHONS = (
    os.environ.get("LLMHIVE_NOX_PYTHON", ""),
    str(ROOT / ".venv" / "bin" / "python"),
    str(ROOT / ".nox" / "dev" / "bin" / "python"),
)
NOX = next((path for path in PYTHONS if path and Path(path).exists()), None)
NO_BITE = "fault_that_does_not_bite_is_unknown"
SHARED = "refused_redis_is_shared_again_at_once"

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(NOX is None, reason="no nox: run by `nox -s selftest` there is one"),
    pytest.mark.timeout(120),
]


def nox(*options: str) -> subprocess.CompletedProcess[str]:
    """The session, as anybody runs it."""
    command = [str(NOX), "-m", "nox", "-s", "chaos", "--", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "history", "code", "line"),
    [
        (NO_BITE, performed(fault=Outcome.FAIL, again=None), 0, "go: 1 of 1"),
        (SHARED, performed(again=Outcome.FAIL), 1, "no go: 0 of 1 experiments hold, 1 false"),
        (SHARED, performed(), 2, "unknown: 0 of 1 experiments hold, 1 unknown"),
    ],
    ids=["go", "no go", "unknown"],
)
def test_the_answer_is_the_sessions_exit_code(
    tmp_path: Path, name: str, history: History, code: int, line: str
) -> None:
    keep(tmp_path / name, history, name)

    ran = nox("--recheck", str(tmp_path), "--reports", str(tmp_path / "again"))

    assert (ran.returncode, line in ran.stdout) == (code, True), ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only", "no_such"], "--only expects names of experiments"),
        (["--wheel", "none.whl"], "--wheel expects a file llmhive-*.whl, got none.whl"),
    ],
    ids=["name", "wheel"],
)
def test_what_could_not_run_ends_with_3_and_one_line(options: list[str], said: str) -> None:
    ran = nox("--list", *options)

    told = [line for line in ran.stderr.splitlines() if line.startswith("could not run: ")]
    assert (ran.returncode, len(told)) == (3, 1), ran.stdout + ran.stderr
    assert said in told[0]
