"""A real Redis for tests, on a socket file of its own, that can be frozen, killed and restarted.

Use the fixtures by importing them into a folder's conftest: `redis_server` lasts for a
session and is shared, so tests make their own ids; `own_redis` is one test's alone.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest


class RedisServer:
    """One redis-server without persistence; `url` stays the same over restarts."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._socket = folder / "redis.sock"
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.url = f"unix://{self._socket}"

    def start(self) -> None:
        """Start, and wait until connections are accepted."""
        command = ["redis-server", "--port", "0", "--unixsocket", str(self._socket), "--save", ""]
        self._process = subprocess.Popen(
            [*command, *self._options], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        assert any("ready to accept" in line.lower() for line in self._process.stdout)

    def kill(self) -> None:
        """End at once, forgetting everything."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Accept connections and answer nothing, as a hung server does."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis shared by all tests of a run."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        yield server


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of this test's own, which it may freeze, kill or fill."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        yield server
