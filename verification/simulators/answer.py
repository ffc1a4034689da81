"""An HTTP answer as it goes over the wire: head, and the body in pieces."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream; charset=utf-8"

HeaderValue = str | Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and the pieces of the body.

    A stream has one piece for each chunk of text and one for what ends it. It goes out
    chunked, everything else with its length.
    """

    status: int
    headers: Mapping[str, HeaderValue]
    pieces: tuple[bytes, ...]
    is_stream: bool = False

    def head(self, *, is_chunked: bool, closes: bool) -> bytes:
        """The status line and the headers; a header whose value is None is left out."""
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Unknown')}"]
        lines.append(f"date: {_date()}")
        for name, value in self.headers.items():
            if isinstance(value, str):
                lines.append(f"{name}: {value}")
            elif value is not None:
                lines.extend(f"{name}: {one}" for one in value)
        if is_chunked:
            lines.append("transfer-encoding: chunked")
        elif not self.is_stream:
            lines.append(f"content-length: {sum(map(len, self.pieces))}")
        lines.append(f"connection: {'close' if closes else 'keep-alive'}")
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"


def chunk(payload: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


LAST_CHUNK: Final = b"0\r\n\r\n"

_dates: dict[int, str] = {}


def _date() -> str:
    """The date header of this second."""
    now = int(time.time())
    if now not in _dates:
        _dates.clear()
        _dates[now] = formatdate(now, usegmt=True)
    return _dates[now]
