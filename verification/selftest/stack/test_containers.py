"""The container stack, where a Docker daemon answers: ours, reachable, and gone when killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import docker
import pytest

from verification.harness.stack import images, programs
from verification.harness.stack.container_removal import LABEL
from verification.harness.stack.containers import Containers, prove_passage
from verification.harness.stack.model import StackError
from verification.harness.stack.programs import ROOT
from verification.harness.stack.servers import is_ours
from verification.harness.waiting import came_true

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KILLED = """
import os, pathlib, signal, sys
from verification.harness.stack.containers import Containers
here = pathlib.Path(sys.argv[1])
containers = Containers()
containers.start_redis(here, "secret")
containers.start_toxiproxy(here)
(here / "label").write_text(containers.label)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="session")
def daemon() -> Any:
    """The Docker daemon of this machine."""
    try:
        return images.client()
    except StackError as error:
        pytest.skip(f"unverified: {error}")


@pytest.fixture
def containers(daemon: docker.DockerClient) -> Iterator[Containers]:
    """Containers of this test's own."""
    assert daemon.ping()
    made = Containers()
    yield made
    made.close()


def labelled(daemon: docker.DockerClient, label: str) -> list[object]:
    """The containers with that label."""
    return list(
        daemon.containers.list(all=True, filters={"label": f"{LABEL}={label}"}, ignore_removed=True)
    )


def test_both_servers_come_up_and_go(
    containers: Containers, daemon: docker.DockerClient, tmp_path: Path
) -> None:
    redis = containers.start_redis(tmp_path, "secret")
    prove_passage(containers.start_toxiproxy(tmp_path))

    assert is_ours(redis)
    assert len(labelled(daemon, containers.label)) == 2
    containers.close()
    assert labelled(daemon, containers.label) == []


def test_a_killed_worker_leaves_no_container(daemon: docker.DockerClient, tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    label = (tmp_path / "label").read_text()

    assert killed.returncode == -signal.SIGKILL
    assert came_true(lambda: not labelled(daemon, label), within_s=20)


def test_an_image_holds_the_libraries_that_its_program_needs() -> None:
    names = [library.name for library in images.libraries(programs.redis_server().path)]

    assert any(name.startswith("libc.so") for name in names)
    assert any(name.startswith("ld-linux") for name in names)


def test_a_daemon_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")

    with pytest.raises(StackError, match="no Docker daemon answers"):
        images.client()
