"""What one connection may hold up, over real sockets in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import uvicorn
from uvicorn.server import ServerState

from llmhive.http_protocol import GuardedProtocol

REQUEST: Final = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
# More than any socket holds.
PIECE: Final = b"x" * 16_000_000
WITHIN_S: Final = 20.0


class Impatient(GuardedProtocol):
    """Waits a moment for who does not read."""

    unread_s = 0.2


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[socket.socket]:
    """A connection to a server of this app."""
    config = uvicorn.Config(app, log_config=None)
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Impatient(config, state, {}), "127.0.0.1", 0)
    connection = socket.socket()
    connection.setblocking(False)
    with connection:
        await loop.sock_connect(connection, server.sockets[0].getsockname())
        yield connection
    server.close()


async def test_a_caller_who_reads_nothing_holds_no_request_for_ever() -> None:
    ended = asyncio.Event()

    async def lengthy(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await send({"type": "http.response.body", "body": PIECE})
        ended.set()

    async with served(lengthy) as connection:
        await asyncio.get_running_loop().sock_sendall(connection, REQUEST)
        async with asyncio.timeout(WITHIN_S):
            is_over = await ended.wait()

    assert is_over


async def test_a_caller_who_reads_later_than_others_is_served_on() -> None:
    loop, later = asyncio.get_running_loop(), asyncio.Event()

    async def lengthy(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await send({"type": "http.response.body", "more_body": True})  # once that was read
        loop.call_later(2 * Impatient.unread_s, later.set)
        await later.wait()
        await send({"type": "http.response.body", "body": b"the end"})

    async with served(lengthy) as connection:
        await loop.sock_sendall(connection, REQUEST)
        got = bytearray()
        async with asyncio.timeout(WITHIN_S):
            while not got.endswith(b"0\r\n\r\n"):
                piece = await loop.sock_recv(connection, 1_000_000)
                assert piece
                got += piece

    assert b"the end" in got
