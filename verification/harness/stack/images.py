"""Images for the container stack: those at hand, those that can be pulled, else made here.

Where no image registry can be reached, an image is imported from the local program and the
libraries that `ldd` names: the same program, in a container.
"""

from __future__ import annotations

import hashlib
import io
import os
import socket
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import docker
from docker.errors import DockerException, ImageNotFound
from docker.utils import parse_host

from verification.harness.stack.model import StackError

if TYPE_CHECKING:
    from collections.abc import Callable

    from verification.harness.stack.programs import Program

REDIS: Final = "redis:8-alpine"
TOXIPROXY: Final = "ghcr.io/shopify/toxiproxy:2.12.0"
OURS: Final = "llmhive-verify"
# A registry that cannot be reached is known within a second or two; a slow one is no use here.
PULL_WITHIN_S: Final = 120
# Docker's daemon is on this machine.
DAEMON_WITHIN_S: Final = 10
UNIX: Final = "http+unix://"


def client(timeout_s: int = DAEMON_WITHIN_S) -> Any:
    """A client of the Docker daemon that answered.

    Raises: StackError when none does.
    """
    try:
        _feel_daemon(timeout_s)
        found = docker.from_env(timeout=timeout_s)
        found.ping()
    except (DockerException, OSError) as error:
        raise StackError(f"no Docker daemon answers: {error}") from error
    return found


def _feel_daemon(timeout_s: int) -> None:
    """Raise OSError when nobody listens: the client would leave its own socket open then."""
    address = parse_host(os.environ.get("DOCKER_HOST"))
    if address.startswith(UNIX):
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(timeout_s)
            wire.connect(address.removeprefix(UNIX))


def image(official: str, program: Callable[[], Program]) -> str:
    """The name of an image that the daemon has: the official one, or ours of the local program.

    Raises: StackError when there is neither and the program is missing, too.
    """
    daemon = client(PULL_WITHIN_S)
    if _has(daemon, official):
        return official
    name = official.partition(":")[0].rpartition("/")[2]
    made = [tag for one in daemon.images.list(name=f"{OURS}/{name}") for tag in one.tags]
    if not made:
        if _pulled(daemon, official):
            return official
        return imported(daemon, program(), name)
    # Made before, since no registry could be reached: asking again would cost each run seconds.
    wanted = _tag(program().path, name)
    return wanted if wanted in made else imported(daemon, program(), name)


def imported(daemon: Any, program: Program, name: str) -> str:
    """An image that holds the program and its libraries, under a tag of the program's content."""
    tag = _tag(program.path, name)
    repository, _, version = tag.partition(":")
    daemon.api.import_image_from_data(
        _layer(program.path),
        repository=repository,
        tag=version,
        changes=['ENTRYPOINT ["/program"]'],
    )
    return tag


def _tag(path: Path, name: str) -> str:
    return f"{OURS}/{name}:{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"


def _has(daemon: Any, name: str) -> bool:
    try:
        daemon.images.get(name)
    except ImageNotFound:
        return False
    return True


def _pulled(daemon: Any, name: str) -> bool:
    try:
        daemon.images.pull(name)
    except DockerException:
        return False
    return True


def _layer(program: Path) -> bytes:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder in ("tmp", "data"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(entry)
        tar.add(program.resolve(), arcname="program")
        for library in libraries(program):
            tar.add(library.resolve(), arcname=str(library).lstrip("/"))
    return layer.getvalue()


def libraries(program: Path) -> list[Path]:
    """The shared libraries that a program needs, the loader included; none for a static one."""
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    words = [word for line in said.stdout.splitlines() for word in line.split()]
    return sorted({Path(word) for word in words if word.startswith("/") and Path(word).exists()})
