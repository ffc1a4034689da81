"""Peers that are scripted to the byte: what the network may do to a client."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def peer(behave: Callable[[socket.socket], object]) -> Iterator[str]:
    """The URL of a server that reads each request's head and then does `behave`."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                wire, _ = listener.accept()
                held.append(wire)
                threading.Thread(target=meet, args=(wire,), daemon=True).start()

    def meet(wire: socket.socket) -> None:
        head = b""
        with suppress(OSError):
            while b"\r\n\r\n" not in head and (piece := wire.recv(65536)):
                head += piece
            behave(wire)

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for wire in held:
        wire.close()


def answers(body: bytes, *, promised: int | None = None) -> Callable[[socket.socket], object]:
    """200 with that body, and a length that may promise more."""
    length = len(body) if promised is None else promised

    def behave(wire: socket.socket) -> None:
        wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + body)
        wire.shutdown(socket.SHUT_WR)

    return behave


def hangs(wire: socket.socket) -> None:
    """Keep the connection, say nothing."""
    wire.recv(1)


def closes(wire: socket.socket) -> None:
    """Close without a word."""
    wire.shutdown(socket.SHUT_RDWR)


def resets(wire: socket.socket) -> None:
    """Reset the connection."""
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


def drips(wire: socket.socket) -> None:
    """Headers, then one byte after the other until the client has gone."""
    wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    wire.settimeout(0.02)
    for _ in range(1000):
        wire.sendall(b".")
        with suppress(TimeoutError):
            wire.recv(1)
