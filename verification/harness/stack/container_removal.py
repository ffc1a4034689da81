"""Remove the containers that carry a label. Run by file by the keeper, or imported."""

from __future__ import annotations

import sys
from typing import Final

import docker
from docker.errors import DockerException, NotFound

LABEL: Final = "llmhive.verify.worker"


def remove(label: str) -> int:
    """Remove every container with that label, running or not; how many there were."""
    daemon = docker.from_env()
    found = daemon.containers.list(
        all=True, filters={"label": f"{LABEL}={label}"}, ignore_removed=True
    )
    for container in found:
        try:
            container.remove(force=True, v=True)
        except NotFound:
            continue
    daemon.close()
    return len(found)


if __name__ == "__main__":
    try:
        print(remove(sys.argv[1]))  # noqa: T201  how many there were, for whoever asks
    except DockerException as error:
        print(error, file=sys.stderr)  # noqa: T201  its only reader is a person
        sys.exit(1)
