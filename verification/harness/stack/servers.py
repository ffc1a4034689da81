"""Redis and Toxiproxy as child processes, each known to be ours before it is used.

Neither can take port 0 and say what it got, so a port is reserved, tried, and tried again;
a secret that only ours knows is the proof of identity.
"""

from __future__ import annotations

import json
import secrets
import socket
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import redis

from verification.harness.processes import Child, keeper
from verification.harness.redis_view import RedisView
from verification.harness.stack.model import StackError
from verification.harness.toxiproxy_link import LOOPBACK, Toxiproxy, ToxiproxyError
from verification.harness.waiting import came_true

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from verification.harness.stack.programs import Program

# Both start within 100 ms; a busy machine of two cores takes longer.
START_WITHIN_S = 10.0
# Another process may take a reserved port before the server does; twice is already rare.
PORT_ATTEMPTS = 5


@dataclass(slots=True)
class RedisServer:
    """A Redis of our own: where it listens, its password, how to stop it."""

    port: int
    password: str
    version: str
    stop: Callable[[], None]
    child: Child | None = None

    @property
    def url(self) -> str:
        """Straight to it, as the suite reads it."""
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """As somebody reaches it by another port, a proxy's."""
        return f"redis://:{self.password}@{LOOPBACK}:{port}/0"


def reserved_port() -> int:
    """A port of loopback that was free a moment ago."""
    with closing(socket.socket()) as held:
        held.bind((LOOPBACK, 0))
        return int(held.getsockname()[1])


def redis_config(port: int, password: str, directory: str) -> str:
    """A Redis as the checklist wants it: 256 MB, allkeys-lru, nothing durable."""
    return "\n".join(
        [
            f"bind {LOOPBACK}",
            f"port {port}",
            f"requirepass {password}",
            f"dir {directory}",
            'save ""',
            "appendonly no",
            "maxmemory 256mb",
            "maxmemory-policy allkeys-lru",
            "daemonize no",
            "",
        ]
    )


def start_redis(program: Program, folder: Path, password: str) -> RedisServer:
    """A redis-server whose identity is proved by its password and its process id.

    Raises: StackError after PORT_ATTEMPTS ports.
    """
    for attempt in range(PORT_ATTEMPTS):
        port = reserved_port()
        config = folder / f"redis-{attempt}.conf"
        config.touch(mode=0o600)
        config.write_text(redis_config(port, password, str(folder)))
        child = keeper().start([program.path, config], name="redis", folder=folder, env={})
        server = RedisServer(port, password, program.version, child.kill, child)
        if _came_up(child, partial(is_ours, server)):
            return server
    raise StackError(f"redis-server did not start: {child.stdout()[-500:]}")


def _came_up(child: Child, is_up: Callable[[], bool]) -> bool:
    came_true(lambda: not child.is_alive or is_up(), within_s=START_WITHIN_S, every_s=0.005)
    return child.is_alive and is_up()


def is_ours(server: RedisServer) -> bool:
    """It answers to our password, and as the process that we started when we know which."""
    view = RedisView(server.url)
    try:
        pid = int(view.info("server")["process_id"])
    except redis.RedisError:
        return False
    finally:
        view.close()
    return server.child is None or pid == server.child.pid


def toxiproxy_config(nonce: str) -> str:
    """A proxy that only ours has: its name proves whose Toxiproxy answers."""
    proxy = {"name": nonce, "listen": f"{LOOPBACK}:0", "upstream": f"{LOOPBACK}:1"}
    return json.dumps([{**proxy, "enabled": False}])


def start_toxiproxy(program: Program, folder: Path) -> tuple[Toxiproxy, Child]:
    """A toxiproxy-server whose identity is proved by a proxy of a secret name.

    Raises: StackError after PORT_ATTEMPTS ports.
    """
    nonce = f"identity-{secrets.token_hex(8)}"
    config = folder / "toxiproxy.json"
    config.write_text(toxiproxy_config(nonce))
    for _ in range(PORT_ATTEMPTS):
        port = reserved_port()
        argv: list[str | Path] = [
            program.path,
            "-host",
            LOOPBACK,
            "-port",
            str(port),
            "-config",
            config,
        ]
        child = keeper().start(argv, name="toxiproxy", folder=folder, env={})
        server = Toxiproxy(LOOPBACK, port)
        if _came_up(child, partial(has_proxy, server, nonce)):
            server.remove(nonce)
            return server, child
    raise StackError(f"toxiproxy-server did not start: {child.stdout()[-500:]}")


def has_proxy(server: Toxiproxy, name: str) -> bool:
    """The server answers and knows a proxy of that name."""
    try:
        return name in server.proxies()
    except ToxiproxyError:
        return False
