"""A server that stands still once, for as long as it is told: the truth of the comparison.

`python load/stalling_server.py --stall-at 5 --stall-for 3` answers every route at once, except
during the stall, counted from the first request on. It announces its port, and when the stall
began and ended, as lines of JSON; it ends with its stdin. Standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

LOOPBACK = "127.0.0.1"
TOKEN = b'event: token\ndata: {"text":"x"}\n\n'
DONE = b'event: done\ndata: {"usage":{"total_tokens":2}}\n\n'
ANSWER = (
    b'{"status":"ok","instance":"stall","environment":"development","version":"0",'
    b'"components":{},"reply":"x","usage":{"total_tokens":2}}'
)


class StallingServer:
    """Answers at once, or when the stall is over."""

    def __init__(self, stall_at_s: float, stall_for_s: float) -> None:
        self._stall_at_s, self._stall_for_s = stall_at_s, stall_for_s
        self._moves = asyncio.Event()
        self._moves.set()
        self._is_armed = stall_for_s > 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                body = await reader.readexactly(_length(head))
                self._arm()
                await self._moves.wait()
                writer.write(_answer(is_stream=b'"stream": true' in body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    def _arm(self) -> None:
        if self._is_armed:
            self._is_armed = False
            loop = asyncio.get_running_loop()
            loop.call_later(self._stall_at_s, self._begin)
            loop.call_later(self._stall_at_s + self._stall_for_s, self._end)

    def _begin(self) -> None:
        self._moves.clear()
        say(stall_began=time.time())

    def _end(self) -> None:
        say(stall_ended=time.time())
        self._moves.set()


def say(**fact: float) -> None:
    """One line of JSON to whoever started this server."""
    print(json.dumps(fact), flush=True)  # noqa: T201  the announcement


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def _answer(*, is_stream: bool) -> bytes:
    body = TOKEN + DONE if is_stream else ANSWER
    kind = b"text/event-stream" if is_stream else b"application/json"
    return (
        b"HTTP/1.1 200 OK\r\nX-Served-By: stall/host-1\r\nContent-Type: "
        + kind
        + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )


async def run(stall_at_s: float, stall_for_s: float) -> None:
    """Serve until stdin ends."""
    server = await asyncio.start_server(StallingServer(stall_at_s, stall_for_s).serve, LOOPBACK, 0)
    say(listening=server.sockets[0].getsockname()[1])
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    await ended.wait()


def main() -> None:
    """Read how to stall, and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stall-at", type=float, default=0.0, metavar="S")
    parser.add_argument("--stall-for", type=float, default=0.0, metavar="S")
    given = parser.parse_args()
    asyncio.run(run(given.stall_at, given.stall_for))


if __name__ == "__main__":
    main()
