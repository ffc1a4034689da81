"""Redis servers, lent to one stack at a time and used again.

A start costs a container, or a process and its port; emptied, under another password and
without anybody connected, the server of a finished stack is as good as new.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import redis

from verification.harness.redis_view import RedisView

if TYPE_CHECKING:
    from pathlib import Path

    from verification.harness.stack.backend import Backend
    from verification.harness.stack.servers import RedisServer


class RedisPool:
    """Starts Redis on one backend and keeps what a finished stack gave back."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self._backend = backend
        self._folder = folder
        self._free: list[RedisServer] = []
        self._numbers = itertools.count(1)

    def take(self, password: str) -> RedisServer:
        """An empty Redis that nobody else uses, behind this password.

        Raises: StackError when none can be started.
        """
        while self._free:
            server = self._free.pop()
            if made_new(server, password):
                return server
            server.stop()
        folder = self._folder / f"redis-{next(self._numbers)}"
        folder.mkdir()
        return self._backend.start_redis(folder, password)

    def give_back(self, server: RedisServer) -> None:
        """Let another stack use it."""
        self._free.append(server)


def made_new(server: RedisServer, password: str) -> bool:
    """Give it another password, send everybody away and empty it; false when it cannot be done."""
    view = RedisView(server.url)
    try:
        view.command("CONFIG", "SET", "requirepass", password)
        view.disconnect_others()
        view.flush()
        view.forget_scripts()
        view.command("CONFIG", "RESETSTAT")
    except redis.RedisError:
        return False
    finally:
        view.close()
    server.password = password
    return True
