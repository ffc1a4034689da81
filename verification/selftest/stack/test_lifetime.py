"""Nothing outlives a run: whoever is killed, every process that it started is gone soon after."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from verification.harness.lifetime import birth
from verification.harness.stack.programs import ROOT
from verification.harness.waiting import came_true, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

# A suite of one test that starts what a stack starts, writes down every pid, and waits.
SUITE = Path(__file__).parent / "hanging_suite.py"
# The keeper looks every 0.2 s; the rest is a busy machine of two cores.
GONE_WITHIN_S = 10.0


@pytest.fixture
def run(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """A run of that suite under xdist, once it hangs, and what it wrote down."""
    shutil.copy(SUITE, tmp_path / "test_hangs.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    controller = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-n", "1", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    facts = tmp_path / "facts.json"
    eventually(facts.exists, until=bool, within_s=20, claim="the inner run has started its stack")
    yield controller, json.loads(facts.read_text())
    if controller.poll() is None:
        os.killpg(controller.pid, signal.SIGKILL)
    controller.wait(10)


def survivors(facts: dict[str, Any]) -> list[str]:
    """The recorded processes that still live, told from later ones of the same id."""
    return [pid for pid, born in facts["born"].items() if birth(int(pid)) == born]


@pytest.mark.parametrize("victim", ["worker", "controller"])
def test_a_killed_run_leaves_no_process_and_no_folder(
    victim: str, run: tuple[subprocess.Popen[bytes], dict[str, Any]], tmp_path: Path
) -> None:
    controller, facts = run
    assert len(survivors(facts)) == len(facts["born"])

    os.kill(facts["worker"] if victim == "worker" else controller.pid, signal.SIGKILL)

    assert facts["controller"] == controller.pid
    assert came_true(lambda: not survivors(facts), within_s=GONE_WITHIN_S), survivors(facts)
    assert came_true(lambda: not (tmp_path / "doomed").exists(), within_s=GONE_WITHIN_S)
