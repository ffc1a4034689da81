"""Redis and Toxiproxy in containers, by testcontainers; the rest stays processes.

Both share the host's network and listen on loopback, so that Toxiproxy reaches host
processes. Containers carry a label and are removed by it, by ourselves when the worker
ends and by the keeper when it is killed.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from verification.harness.processes import keeper
from verification.harness.stack import container_removal, images, programs, servers
from verification.harness.stack.model import StackError
from verification.harness.stack.servers import RedisServer
from verification.harness.toxiproxy_link import LOOPBACK, Link, Toxiproxy
from verification.harness.waiting import came_true

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

S = TypeVar("S")

# Inside a container testcontainers would aim at the bridge; and its reaper needs an image
# from a registry, so we clean up ourselves.
TESTCONTAINERS: Final = {
    "TESTCONTAINERS_HOST_OVERRIDE": LOOPBACK,
    "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
    "TESTCONTAINERS_RYUK_DISABLED": "true",
}
# A container starts within a second; a busy machine takes longer.
START_WITHIN_S: Final = 20.0
PROBE_WITHIN_S: Final = 5.0


class Containers:
    """Servers in containers, seen to reach processes of this host before they are chosen.

    Raises: StackError when no daemon answers, or no image can be had.
    """

    kind = "containers"

    def __init__(self) -> None:
        for name, value in TESTCONTAINERS.items():
            os.environ.setdefault(name, value)
        self._daemon = images.client()
        self._redis = images.image(images.REDIS, programs.redis_server)
        self._toxiproxy = images.image(images.TOXIPROXY, programs.toxiproxy_server)
        self._running: Toxiproxy | None = None
        self.label = secrets.token_hex(8)
        keeper().note("containers", f"containers of {self.label}", label=self.label)
        keeper().run_at_end([sys.executable, container_removal.__file__, self.label])

    @property
    def versions(self) -> Mapping[str, str]:
        """The images, and the daemon."""
        version = self._daemon.version()["Version"]
        return {"docker": version, "redis": self._redis, "toxiproxy": self._toxiproxy}

    def start_redis(self, folder: Path, password: str) -> RedisServer:
        """A Redis container, proved ours by its password."""

        def start(port: int) -> RedisServer | None:
            config = folder / "redis.conf"
            config.write_text(servers.redis_config(port, password, "/data"))
            config.chmod(0o644)  # read by whoever the image runs as; the folder is ours alone
            command = ["redis-server"] if self._redis == images.REDIS else []
            box = self._run(self._redis, [*command, "/config/redis.conf"], folder)
            server = RedisServer(port, password, self._redis, box.stop)
            return server if _came_up(box, lambda: servers.is_ours(server)) else None

        return _on_some_port(start, "redis")

    def start_toxiproxy(self, folder: Path) -> Toxiproxy:
        """The Toxiproxy container, proved ours by a proxy of a secret name; one per worker."""
        if self._running is not None and self._running.is_alive:
            return self._running
        nonce = f"identity-{secrets.token_hex(8)}"
        (folder / "toxiproxy.json").write_text(servers.toxiproxy_config(nonce))

        def start(port: int) -> Toxiproxy | None:
            options = ["-host", LOOPBACK, "-port", str(port), "-config", "/config/toxiproxy.json"]
            box = self._run(self._toxiproxy, options, folder)
            server = Toxiproxy(LOOPBACK, port)
            if not _came_up(box, lambda: servers.has_proxy(server, nonce)):
                return None
            server.remove(nonce)
            return server

        self._running = _on_some_port(start, "toxiproxy")
        return self._running

    def close(self) -> None:
        """Remove every container of this worker."""
        container_removal.remove(self.label)

    def _run(self, image: str, command: list[str], folder: Path) -> Any:
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415  after its settings

        box = DockerContainer(image).with_command(command)
        box.with_volume_mapping(str(folder), "/config", "ro")
        box.with_kwargs(network_mode="host", labels={container_removal.LABEL: self.label})
        return box.start()


def _came_up(box: Any, is_up: Callable[[], bool]) -> bool:
    def is_over() -> bool:
        box.get_wrapped_container().reload()
        return bool(box.get_wrapped_container().status == "exited")

    came_true(lambda: is_up() or is_over(), within_s=START_WITHIN_S, every_s=0.05)
    if is_up():
        return True
    box.stop()
    return False


def _on_some_port(start: Callable[[int], S | None], name: str) -> S:
    for _ in range(servers.PORT_ATTEMPTS):
        if (server := start(servers.reserved_port())) is not None:
            return server
    raise StackError(f"the {name} container did not come up")


def prove_passage(toxiproxy: Toxiproxy) -> None:
    """See a byte pass through Toxiproxy to a process of this host and back.

    Raises: StackError when it does not: then containers are of no use here.
    """
    with closing(socket.create_server((LOOPBACK, 0))) as host_process:
        port = host_process.getsockname()[1]
        link = Link("passage", toxiproxy, upstream=f"{LOOPBACK}:{port}", probe=b"")
        link.open(f"passage-{secrets.token_hex(4)}")
        host_process.settimeout(PROBE_WITHIN_S)
        try:
            passed = _passed(link, host_process)
        except OSError as error:
            raise StackError(f"Toxiproxy's container does not reach this host: {error}") from error
        finally:
            link.close()
    if passed != b"x":
        raise StackError("Toxiproxy's container does not pass bytes to this host")


def _passed(link: Link, host_process: socket.socket) -> bytes:
    with socket.create_connection((link.host, link.port), PROBE_WITHIN_S) as wire:
        arrived, _ = host_process.accept()
        with closing(arrived):
            arrived.sendall(b"x")
            return wire.recv(1)
