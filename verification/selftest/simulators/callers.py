"""Callers of simulators: one who asks politely, and one who looks at every byte."""

from __future__ import annotations

import json
import socket
import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from verification.harness.http_client import Http
from verification.harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verification.harness.answer import Answer
    from verification.harness.simulated import Call, Simulator

# Far above what loopback takes; a test that gets here fails.
PATIENCE_S = 10.0
ADDRESSES = {
    "openai": ("/v1/chat/completions", {"Authorization": "Bearer sk-test"}),
    "anthropic": ("/v1/messages", {"x-api-key": "sk-ant", "anthropic-version": "2023-06-01"}),
}


def body_of(text: str = "Hello", **fields: Any) -> dict[str, Any]:
    """A chat body that both vendors take."""
    return {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": text}],
        **fields,
    }


def ask(simulator: Simulator, text: str = "Hello", **fields: Any) -> Answer:
    """A chat call; `key` sends another credential."""
    path, headers = ADDRESSES[simulator.name]
    if key := fields.pop("key", None):
        headers = {**headers, "Authorization": f"Bearer {key}"}
    return Http(simulator.control_url).post(
        path, json=body_of(text, **fields), headers=headers, timeout_s=PATIENCE_S
    )


def spelled(simulator: Simulator, text: str = "Hello", **fields: Any) -> bytes:
    """The bytes of a chat call."""
    path, headers = ADDRESSES[simulator.name]
    body = json.dumps(body_of(text, **fields)).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: here", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextmanager
def connected(simulator: Simulator, *, receives_bytes: int = 0) -> Iterator[socket.socket]:
    """A socket to the simulator, with a small buffer if asked for."""
    address = urlsplit(simulator.control_url)
    with socket.socket() as wire:
        wire.settimeout(PATIENCE_S)
        if receives_bytes:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives_bytes)
        wire.connect((address.hostname, address.port))
        yield wire


@dataclass(frozen=True, slots=True)
class Seen:
    """What a socket saw: the bytes, and how the connection ended: "fin", "rst" or not."""

    data: bytes
    ending: str

    @property
    def head(self) -> bytes:
        """Up to the empty line."""
        return self.data.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        """What comes after it, as it is on the wire."""
        return self.data.partition(b"\r\n\r\n")[2]

    @property
    def chunks(self) -> list[bytes]:
        """The chunks of a chunked body but the last; one that was cut in the middle counts."""
        found, rest = [], self.body
        while rest and not rest.startswith(b"0\r\n"):
            size, _, rest = rest.partition(b"\r\n")
            found.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        return found


def until_end(wire: socket.socket) -> Seen:
    """Read until the other side ends the connection."""
    data = bytearray()
    try:
        while piece := wire.recv(65536):
            data += piece
    except ConnectionResetError:
        return Seen(bytes(data), "rst")
    return Seen(bytes(data), "fin")


def seen(simulator: Simulator, *calls: bytes) -> Seen:
    """Send these bytes and read until the simulator ends the connection."""
    with connected(simulator) as wire:
        for call in calls:
            wire.sendall(call)
        return until_end(wire)


def read_answer(wire: socket.socket) -> Seen:
    """Read one answer with a Content-Length."""
    data = bytearray()
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += wire.recv(65536)
    head = bytes(data[:end]).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    while len(data) < end + 4 + length:
        data += wire.recv(65536)
    return Seen(bytes(data), "open")


def reset(wire: socket.socket) -> None:
    """Leave with a reset."""
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


def over(simulator: Simulator) -> Call:
    """The only call, once it is over."""
    calls = eventually(
        simulator.journal,
        until=lambda found: len(found) == 1 and found[0].ended_s is not None,
        within_s=PATIENCE_S,
        claim="the call is over",
    )
    return calls[0]


@contextmanager
def asking(simulator: Simulator, text: str = "Hello", **fields: Any) -> Iterator[list[Answer]]:
    """A call that goes on meanwhile; its answer is in the list when the context has ended."""
    answers: list[Answer] = []
    caller = threading.Thread(target=lambda: answers.append(ask(simulator, text, **fields)))
    caller.start()
    yield answers
    caller.join(PATIENCE_S)
