"""Nothing outlives a run: whoever is killed, all that it started is gone soon after."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from verification.harness.lifetime import birth
from verification.harness.stack import images
from verification.harness.stack.container_removal import LABEL
from verification.harness.stack.model import StackError
from verification.harness.stack.programs import ROOT
from verification.harness.waiting import came_true, eventually
from verification.selftest.plugin.inner_run import arguments_for, command_apart, without_this_run
from verification.selftest.stack.conftest import STAND_IN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A whole stack, a fault that bites, and a claim that never ends.
HANGS = """
import os, pathlib, signal

@claim("kill.hangs", proves=[p.PRINTED_HEALTH], workers=2, faults=["redis"])
@pytest.mark.timeout(0)
def test_a_fault_lasts(target):
    with target.faults.hang("redis"):
        note = pathlib.Path({note!r})
        note.with_suffix(".part").write_text(str(os.getpid()))
        note.with_suffix(".part").rename(note)
        signal.pause()
"""
STARTED_WITHIN_S = 60.0
# The keeper looks every 0.2 s, a container takes a second; the rest is a busy machine's.
GONE_WITHIN_S = 20.0
# The simulators, the service with two workers, the keeper that holds them; on processes, Redis
# and Toxiproxy as well.
STACK_HAS_AT_LEAST = {"processes": 7, "containers": 5}
CONTAINERS = {"processes": 0, "containers": 2}


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


def survivors(processes: dict[int, str | None]) -> list[int]:
    """Those that still live, told from later ones of the same id."""
    return [pid for pid, born in processes.items() if born is not None and birth(pid) == born]


def containers_with(folder: Path) -> list[str]:
    """The containers that any run of ours started and that hold a folder below this one."""
    daemon = images.client()
    found = daemon.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
    daemon.close()
    mounts = {box.name: [each["Source"] for each in box.attrs["Mounts"]] for box in found}
    return [name for name, sources in mounts.items() if str(folder) in str(sources)]


@pytest.fixture(params=["processes", "containers"])
def kind(request: pytest.FixtureRequest) -> str:
    """The stack of the run that is killed."""
    if request.param == "containers":
        try:
            images.client().close()
        except StackError as error:
            pytest.skip(f"unverified: {error}")
    return str(request.param)


@pytest.fixture
def run(kind: str, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A run under xdist in the middle of that claim, and the pid of its worker."""
    note = tmp_path / "worker"
    arguments = arguments_for(tmp_path, HANGS.format(note=str(note)), "-n1", f"--stack={kind}")
    (tmp_path / "temporary").mkdir()
    mine = {"LLMHIVE_SERVICE_PYTHON": sys.executable, "LLMHIVE_OVERLAY": str(STAND_IN)}
    controller = subprocess.Popen(
        command_apart(arguments),
        cwd=ROOT,
        env={**without_this_run(), **mine, "TMPDIR": str(tmp_path / "temporary")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    eventually(note.exists, until=bool, within_s=STARTED_WITHIN_S, claim="the run is under way")
    yield controller, int(note.read_text())
    if controller.poll() is None:
        os.killpg(controller.pid, signal.SIGKILL)
    controller.wait(GONE_WITHIN_S)


@pytest.mark.end_to_end
@pytest.mark.timeout(180)
@pytest.mark.parametrize("victim", ["worker", "controller"])
def test_a_killed_run_leaves_no_process_no_container_no_toxic_and_no_folder(
    victim: str, kind: str, run: tuple[subprocess.Popen[bytes], int], tmp_path: Path
) -> None:
    controller, worker = run
    folders = tmp_path / "temporary"
    boxes = partial(containers_with, folders) if kind == "containers" else list
    killed = worker if victim == "worker" else controller.pid
    started = below(killed)
    assert len(survivors(started)) >= STACK_HAS_AT_LEAST[kind]
    assert len(boxes()) == CONTAINERS[kind]

    os.kill(killed, signal.SIGKILL)

    # Toxics go with Toxiproxy, and data with the folders of the stack.
    assert came_true(lambda: not survivors(started), within_s=GONE_WITHIN_S), survivors(started)
    assert came_true(lambda: not boxes(), within_s=GONE_WITHIN_S), boxes()
    assert came_true(lambda: not any(folders.glob("llmhive-vfy-*")), within_s=GONE_WITHIN_S)
    if victim == "worker":
        assert controller.wait(GONE_WITHIN_S) == 2, "the claim is unknown, and so is the run"
