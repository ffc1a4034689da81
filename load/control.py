"""The control: an echo on the generator's own machine, which says whether that machine was free.

`python load/control.py` serves it until its stdin ends, a lifetime pipe, and announces its port
as one line of JSON. Standard library only, one thread: it does nothing but wake up and answer,
so what a ping takes is what the machine made it wait.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys

LOOPBACK = "127.0.0.1"
# A ping is one byte; more is nobody's.
CHUNK = 64


def serve() -> None:
    """Echo on every connection until stdin ends."""
    chosen = selectors.DefaultSelector()
    with socket.create_server((LOOPBACK, 0)) as door:
        print(json.dumps({"listening": door.getsockname()[1]}), flush=True)  # noqa: T201  the announcement
        chosen.register(door, selectors.EVENT_READ)
        chosen.register(sys.stdin, selectors.EVENT_READ)
        while sys.stdin not in (ready := _ready(chosen)):
            for one in ready:
                _serve_one(chosen, door, one)


def _ready(chosen: selectors.BaseSelector) -> list[object]:
    return [key.fileobj for key, _ in chosen.select()]


def _serve_one(chosen: selectors.BaseSelector, door: socket.socket, one: object) -> None:
    if one is door:
        chosen.register(door.accept()[0], selectors.EVENT_READ)
    elif isinstance(one, socket.socket):
        if data := one.recv(CHUNK):
            one.sendall(data)
        else:
            chosen.unregister(one)
            one.close()


if __name__ == "__main__":
    serve()
