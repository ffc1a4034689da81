"""One caller's connection: requests in order, and the moment at which the caller leaves.

Reading goes on while a request is being answered, since that is how one learns of it.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable, Coroutine
from typing import Final

from verification.simulators.answer import Answer
from verification.simulators.http_request import BadRequestError, Request, RequestReader
from verification.simulators.reply import Cut

# What a caller may send ahead while it is being answered.
AHEAD_BYTES_MAX: Final = 1_000_000
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LOOK_EVERY_S: Final = 0.001
# On, no patience: close() throws away what is unsent and resets.
LINGER_NOT: Final = struct.pack("ii", 1, 0)

Work = Coroutine[None, None, None] | None
Serve = Callable[["Connection", Request], Work]


class Connection(asyncio.Protocol):
    """Serves the requests of one connection one after the other.

    `serve` answers at once and gives None, or gives what remains to be done.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._reader = RequestReader()
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._is_over = False
        self.on_left: Callable[[], object] | None = None
        """Called once when the caller leaves while it is being answered."""

    # From the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; a write waits as soon as the kernel takes no more."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=0)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take bytes; no more than a bound while busy."""
        if self._is_over:
            return
        self._reader.feed(data)
        if self._task is None:
            self._advance()
        elif self._reader.unread_bytes > AHEAD_BYTES_MAX:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """The caller has nothing more to say: it has left."""
        self._leave()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        del exc
        self._leave()

    def pause_writing(self) -> None:
        """The kernel takes no more."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """Everything was taken."""
        self._can_write.set()

    # For whoever answers.

    @property
    def transport(self) -> asyncio.Transport:
        """The transport of a connection that was made."""
        assert self._transport is not None
        return self._transport

    @property
    def has_unsent(self) -> bool:
        """The kernel has not taken everything yet."""
        return not self._can_write.is_set()

    def write(self, data: bytes) -> None:
        """Send, without waiting."""
        self.transport.write(data)

    async def sent(self) -> None:
        """Wait until the kernel has taken everything, and let others run in between."""
        await asyncio.sleep(0)
        await self._can_write.wait()

    def close(self) -> None:
        """Send what is unsent, then FIN."""
        self._is_over = True
        self.transport.close()

    async def cut(self, how: Cut) -> None:
        """End the connection in the middle of whatever it is in, when all before has arrived."""
        await self.sent()
        wire: socket.socket = self.transport.get_extra_info("socket")
        # A reset would throw away what is on its way; the kernel has no event for its arrival.
        while how == "rst" and _unacknowledged(wire):  # noqa: ASYNC110  see above
            await asyncio.sleep(LOOK_EVERY_S)
        self._is_over = True
        if how == "rst":
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            self.transport.abort()
        elif how == "half":
            self.transport.write_eof()
        else:
            self.transport.close()

    # Inside.

    def _advance(self) -> None:
        while self._task is None and not self._is_over:
            try:
                request = self._reader.next()
            except BadRequestError as error:
                self._refuse(error)
                return
            if request is None:
                if self._reader.wants_continue:
                    self.write(CONTINUE)
                return
            work = self._serve(self, request)
            if work is not None:
                self._task = asyncio.get_running_loop().create_task(self._do(work))

    async def _do(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception:
            self._is_over = True
            self.transport.abort()
            raise
        finally:
            self._task = self.on_left = None
        if not self._is_over:
            self.transport.resume_reading()
            self._advance()

    def _leave(self) -> None:
        has_left = not self._is_over
        self._is_over = True
        self._can_write.set()
        if has_left and self._task is not None:
            if self.on_left is not None:
                self.on_left()
            self._task.cancel()

    def _refuse(self, error: BadRequestError) -> None:
        body = f"{error}\n".encode()
        answer = Answer(error.status, {"content-type": "text/plain"}, (body,))
        self.write(answer.head(is_chunked=False, closes=True) + body)
        self.close()


def _unacknowledged(wire: socket.socket) -> int:
    """How many bytes the kernel still holds for the other side; 0 where it does not tell."""
    try:
        return int.from_bytes(fcntl.ioctl(wire, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0
