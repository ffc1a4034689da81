"""Where a stack's Redis and Toxiproxy run: a port with two adapters, processes and containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from verification.harness.stack import programs, servers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from verification.harness.stack.servers import RedisServer
    from verification.harness.toxiproxy_link import Toxiproxy


class Backend(Protocol):
    """Starts servers. Everything it starts ends with the worker, however the worker ends."""

    @property
    def kind(self) -> str:
        """The stack's name: processes or containers."""

    @property
    def versions(self) -> Mapping[str, str]:
        """What runs, in which version and from where, for the header of the run."""

    def start_redis(self, folder: Path, password: str) -> RedisServer:
        """A Redis of its own for one stack."""

    def start_toxiproxy(self, folder: Path) -> Toxiproxy:
        """The Toxiproxy of this worker."""

    def close(self) -> None:
        """End what is not stopped one by one."""


class Processes:
    """Servers as child processes: works wherever their programs can be had."""

    kind = "processes"

    def __init__(self) -> None:
        self._redis = programs.redis_server()
        self._toxiproxy = programs.toxiproxy_server()

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions and where the programs come from."""
        return {
            "redis": f"{self._redis.version} ({self._redis.source})",
            "toxiproxy": f"{self._toxiproxy.version} ({self._toxiproxy.source})",
        }

    def start_redis(self, folder: Path, password: str) -> RedisServer:
        """A redis-server child."""
        return servers.start_redis(self._redis, folder, password)

    def start_toxiproxy(self, folder: Path) -> Toxiproxy:
        """A toxiproxy-server child."""
        return servers.start_toxiproxy(self._toxiproxy, folder)[0]

    def close(self) -> None:
        """Nothing: the keeper ends its children."""
