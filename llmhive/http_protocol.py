"""uvicorn's protocol with three gaps closed: its own refusals, endless requests, unread answers.

What cannot be parsed is answered like every other error, with every header; headers are
bounded, and a connection that sends no whole head, or no whole body, is closed in the end;
so is one whose caller reads nothing of the answer.
Source: RFC 9112 section 3; RFC 6585 section 5 for 431.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Twice what Node and nginx allow by default (16 and 32 kB): no honest request comes near it.
HEAD_BYTES_MAX: Final = 65_536
# A head is one packet or a few; who takes half a minute for it is slow on purpose.
HEAD_S: Final = 30.0
REASONS: Final = {400: b"Bad Request", 431: b"Request Header Fields Too Large"}


class Refusals(Protocol):
    """Who words the answer to a request that is none; set once per worker."""

    def answer(self, status: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Give headers and body, and count and log the refusal."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    refusals: Refusals
    body_s: float = 30.0
    unread_s: float = 60.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._unread_bytes = 0
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """End waiting."""
        self._stop_timer()
        self._stop_unread_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for the caller to read."""
        super().pause_writing()
        self._await_reading()

    def resume_writing(self) -> None:
        """End waiting: the caller reads."""
        self._stop_unread_timer()
        super().resume_writing()

    def on_message_begin(self) -> None:
        """Count the bytes of a new head."""
        super().on_message_begin()
        self._head_bytes = 0
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self._give_up)

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Serve the request, and begin to wait for its body."""
        self._stop_timer()
        self._timer = self.loop.call_later(self.body_s, self._give_up_body)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End waiting: the request is whole."""
        self._stop_timer()
        super().on_message_complete()

    def _count(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > HEAD_BYTES_MAX:
            raise ValueError("the head is too large")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _await_reading(self) -> None:
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._unread_timer = self.loop.call_later(self.unread_s, self._look_at_reading)

    def _look_at_reading(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread_bytes:
            self._await_reading()
        else:
            self.transport.abort()

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()

    def _give_up_body(self) -> None:
        """Close what has its answer already; whoever still waits for one is told by the app."""
        self._timer = None
        self.shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; behind an answer that has begun there is only the end."""
        del msg  # uvicorn's wording
        if self.cycle is None or self.cycle.response_complete:
            status = 431 if self._head_bytes > HEAD_BYTES_MAX else 400
            headers, body = self.refusals.answer(status)
            lines = [b"HTTP/1.1 %d %s" % (status, REASONS[status])]
            lines += [b"%s: %s" % each for each in (*self.server_state.default_headers, *headers)]
            self.transport.write(b"\r\n".join([*lines, b"", b""]) + body)
        self.transport.close()
