"""Whoever is killed in the middle of a fault: the next command finds and undoes everything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from verification.harness.lifetime import birth
from verification.harness.stack.programs import ROOT
from verification.harness.waiting import came_true, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(180)]
STAND_IN = ROOT / "verification" / "selftest" / "stack" / "stand_in"
STARTED_WITHIN_S = 60.0
ENDED_WITHIN_S = 60.0
# The keeper looks every 0.2 s; the rest is a busy machine of two cores.
GONE_WITHIN_S = 20.0
# Redis, Toxiproxy, three simulators, the service with two workers, the keeper, the run itself.
RUN_HAS_AT_LEAST = 9
# What nox does: starts the run, tells it who its controller is, waits.
CONTROLLER = """
import os, subprocess, sys
env = {**os.environ, "LLMHIVE_CONTROLLER": str(os.getpid())}
sys.exit(subprocess.run(sys.argv[1:], env=env).returncode)
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A run in the middle of a fault, and every process that belongs to it."""

    controller: subprocess.Popen[str]
    folder: Path
    runner: int
    processes: dict[int, str | None]

    def named(self, words: str) -> int:
        """The process of this run whose command line holds these words."""
        return next(pid for pid in self.processes if words in command_of(pid))

    def survivors(self) -> list[int]:
        """Those that still live, told from later ones of the same id."""
        every = self.processes.items()
        return [pid for pid, born in every if born is not None and birth(pid) == born]

    def outstanding(self) -> list[str]:
        """What stands in undo files."""
        files = (self.folder / "undo").glob("*.jsonl")
        return [line for file in files for line in file.read_text().splitlines()]


def command_of(pid: int) -> str:
    """The command line of a process, empty when it is gone."""
    shown = subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout


def below(root: int) -> dict[int, str | None]:
    """Every process that `root` started, and those started by them, with their births."""
    shown = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    children: dict[int, list[int]] = {}
    for line in shown.stdout.splitlines():
        pid, parent = map(int, line.split())
        children.setdefault(parent, []).append(pid)
    found, unseen = [], children.get(root, [])
    while unseen:
        found.append(unseen.pop())
        unseen += children.get(found[-1], [])
    return {pid: birth(pid) for pid in found}


def environment(folder: Path) -> dict[str, str]:
    """What a run of a test gets: the stand-in, undo files and temporary files of its own."""
    (folder / "temporary").mkdir(exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    return {
        **inherited,
        "LLMHIVE_SERVICE_PYTHON": sys.executable,
        "LLMHIVE_OVERLAY": str(STAND_IN),
        "LLMHIVE_UNDO_DIR": str(folder / "undo"),
        "TMPDIR": str(folder / "temporary"),
    }


def one_run(folder: Path) -> list[str]:
    """The command of a run."""
    note = folder / "note"
    return [sys.executable, "-m", "chaos.selftest.one_run", str(folder / "reports"), str(note)]


def next_run(folder: Path) -> subprocess.CompletedProcess[str]:
    """Another run after that one, to its end."""
    (folder / "note").unlink(missing_ok=True)
    (folder / "note.go").touch()
    return subprocess.run(
        one_run(folder),
        cwd=ROOT,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=STARTED_WITHIN_S + ENDED_WITHIN_S,
    )


def target_undo(folder: Path) -> subprocess.CompletedProcess[str]:
    """What `nox -s target -- undo` calls."""
    code = "from verification.harness.undo import undo; print(*undo(), sep='\\n')"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run in the middle of its fault."""
    controller = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, *one_run(tmp_path)],
        cwd=ROOT,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    note = tmp_path / "note"
    eventually(note.exists, until=bool, within_s=STARTED_WITHIN_S, claim="the fault acts")
    started = Run(controller, tmp_path, int(note.read_text()), below(controller.pid))
    assert len(started.processes) >= RUN_HAS_AT_LEAST
    yield started
    for pid in started.survivors():
        os.kill(pid, signal.SIGKILL)
    controller.kill()
    controller.communicate()


def kill(run: Run, *victims: str) -> None:
    """SIGKILL each victim, all at once; then wait until whoever can has cleaned up."""
    pids = {"controller": run.controller.pid, "runner": run.runner}
    pids["keeper"] = run.named("lifetime.py")
    for victim in victims:
        os.kill(pids[victim], signal.SIGKILL)
    if "keeper" not in victims:
        came_true(lambda: not run.survivors(), within_s=GONE_WITHIN_S)


@pytest.mark.parametrize("victims", [("controller",), ("runner",)], ids="-".join)
def test_a_killed_controller_or_runner_leaves_nothing_and_the_next_run_says_what_there_was(
    run: Run, victims: tuple[str, ...]
) -> None:
    before = run.outstanding()

    kill(run, *victims)
    gone, noted = run.survivors(), run.outstanding()
    after = next_run(run.folder)

    assert [line for line in before if "toxic timeout-downstream on the link redis" in line]
    assert (gone, noted != []) == ([], True)
    assert (after.returncode, run.outstanding()) == (0, []), after.stdout + after.stderr
    assert "go: 1 of 1 experiments hold" in after.stdout


@pytest.mark.parametrize("command", [next_run, target_undo])
def test_when_the_keeper_dies_too_the_next_command_ends_every_orphan(
    run: Run, command: object
) -> None:
    kill(run, "controller", "runner", "keeper")
    orphans = run.survivors()

    done = command(run.folder)  # type: ignore[operator]  # one of the two above

    assert len(orphans) >= RUN_HAS_AT_LEAST - 2
    assert (done.returncode, run.survivors(), run.outstanding()) == (0, [], [])
    assert "toxic timeout-downstream on the link redis: was left, undone" in done.stdout
    assert "was alone and alive, killed" in done.stdout
    assert list((run.folder / "temporary").glob("llmhive-*")) == []


def test_a_killed_toxiproxy_makes_the_experiment_unknown_and_leaves_nothing(run: Run) -> None:
    os.kill(run.named("toxiproxy-server"), signal.SIGKILL)
    (run.folder / "note.go").touch()

    said, _ = run.controller.communicate(timeout=ENDED_WITHIN_S)

    assert run.controller.returncode == 2, said
    results = json.loads((run.folder / "reports" / "results.json").read_text())
    assert [(one["word"], one["owner"]) for one in results["experiments"]] == [
        ("unknown", "environment")
    ]
    assert (run.survivors(), run.outstanding()) == ([], [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_a_signal_heals_first_and_says_unknown(run: Run, number: signal.Signals) -> None:
    os.kill(run.runner, number)

    said, _ = run.controller.communicate(timeout=ENDED_WITHIN_S)
    results = json.loads((run.folder / "reports" / "results.json").read_text())
    history = run.folder / "reports" / "histories" / "hung_redis_for_a_test" / "history.jsonl"
    nemesis = [line for line in history.read_text().splitlines() if '"f": "nemesis"' in line]

    assert run.controller.returncode == 2, said
    assert results["experiments"][0]["why"] == f"interrupted by {number.name}"
    assert [json.loads(line)["outcome"] for line in nemesis] == ["ok"]
    assert (run.survivors(), run.outstanding()) == ([], [])
