"""Server-sent events out of bytes that come in any pieces.

Works on bytes, so that a character split between two pieces is whole again before anybody
decodes it. Source: WHATWG HTML, section 9.2.6, "Interpreting an event stream".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# Two hundred times the longest event that a provider sends with a limit of 1024 tokens.
EVENT_BYTES_MAX = 1_048_576
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class SseOverflowError(ValueError):
    """An event is longer than any provider's could be."""


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event: its name, "message" if none was given, and its lines of data joined."""

    name: bytes
    data: bytes


class SseParser:
    """Turns pieces of a stream into events; an event without its closing blank line is none."""

    __slots__ = (
        "_data",
        "_data_bytes",
        "_ends_in_cr",
        "_is_fresh",
        "_name",
        "_rest",
        "_rest_bytes",
    )

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # a line that has not ended, in pieces: joined once
        self._rest_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = b""
        self._ends_in_cr = False
        self._is_fresh = True

    def feed(self, piece: bytes) -> Iterator[SseEvent]:
        """Give the events that `piece` completes, one by one.

        Raises: SseOverflowError when a line or an event's data outgrows EVENT_BYTES_MAX.
        """
        for line in self._lines(piece):
            if line:
                self._take(line)
            elif self._data:
                event = SseEvent(self._name or b"message", b"\n".join(self._data))
                self._forget()
                yield event
            else:
                self._forget()

    def _lines(self, piece: bytes) -> Iterator[bytes]:
        """Whole lines, whether they end in LF, CR or CRLF, split between pieces or not."""
        if self._ends_in_cr and piece.startswith(b"\n"):
            piece = piece[1:]
            self._ends_in_cr = False
        if not piece:
            return
        self._ends_in_cr = piece.endswith(b"\r")
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *ended, rest = piece.split(b"\n")
        for line in ended:
            yield self._joined(line)
        self._keep(rest)

    def _joined(self, line: bytes) -> bytes:
        if self._rest:
            self._keep(line)
            line = b"".join(self._rest)
            self._rest.clear()
            self._rest_bytes = 0
        if self._is_fresh:
            self._is_fresh = False
            line = line.removeprefix(BYTE_ORDER_MARK)
        return line

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._rest.append(piece)
            self._rest_bytes += len(piece)
            if self._rest_bytes > EVENT_BYTES_MAX:
                raise SseOverflowError("A line is too long.")

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._data_bytes += len(value)
            if self._data_bytes > EVENT_BYTES_MAX:
                raise SseOverflowError("An event is too long.")
        elif field == b"event":
            self._name = value

    def _forget(self) -> None:
        self._data = []
        self._data_bytes = 0
        self._name = b""
