"""HTTP/1.1 requests out of bytes, bounded, however the bytes are cut into pieces.

Knows no socket. Source: RFC 9112.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

# Vendors refuse heads beyond 16 to 64 kB.
HEAD_BYTES_MAX: Final = 65_536
# The largest chat message (120 000 characters, each escaped to 6 bytes or more) fits ten times.
BODY_BYTES_MAX: Final = 16_000_000
# A chunk's length in hexadecimal; nobody sends extensions.
CHUNK_LINE_BYTES_MAX: Final = 256


class BadRequestError(Exception):
    """What came is no request that can be answered; the connection ends with this status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(slots=True)
class Request:
    """One request. Header names are lower case; `head` is as it came."""

    method: str
    target: str
    is_http_1_0: bool
    headers: dict[str, str]
    head: bytes = field(repr=False)
    body: bytes = field(repr=False, default=b"")

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def wants_close(self) -> bool:
        """The caller will send nothing more on this connection."""
        connection = self.headers.get("connection", "").lower()
        return "close" in connection or (self.is_http_1_0 and "keep-alive" not in connection)


class RequestReader:
    """Takes bytes and gives the requests in them, one after the other."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._request: Request | None = None
        self._missing: int | None = None

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._buffer += data

    @property
    def unread_bytes(self) -> int:
        """How much is waiting to be read."""
        return len(self._buffer)

    @property
    def wants_continue(self) -> bool:
        """The caller waits to be told to send the body."""
        if self._request is None or self._buffer:
            return False
        return self._request.headers.get("expect", "").lower() == "100-continue"

    def next(self) -> Request | None:
        """The next whole request, None while one is not complete.

        Raises: BadRequestError.
        """
        if self._request is None and not self._read_head():
            return None
        request = self._request
        if request is None or not self._read_body(request):
            return None
        self._request = None
        return request

    def _read_head(self) -> bool:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):  # RFC 9112, section 2.2: ignore at least one
            del buffer[:2]
        end = buffer.find(b"\r\n\r\n")
        if end > HEAD_BYTES_MAX or (end < 0 and len(buffer) > HEAD_BYTES_MAX):
            raise BadRequestError(431, f"expected a head of at most {HEAD_BYTES_MAX} bytes")
        if end < 0:
            return False
        head = bytes(buffer[:end])
        del buffer[: end + 4]
        self._request = _parsed(head)
        self._missing = _length(self._request.headers)
        return True

    def _read_body(self, request: Request) -> bool:
        if self._missing is None:
            return self._read_chunked(request)
        if len(self._buffer) < self._missing:
            return False
        request.body = bytes(self._buffer[: self._missing])
        del self._buffer[: self._missing]
        return True

    def _read_chunked(self, request: Request) -> bool:
        if len(self._buffer) > BODY_BYTES_MAX:
            raise BadRequestError(413, f"expected at most {BODY_BYTES_MAX} bytes")
        found = _chunks(self._buffer)
        if found is None:
            return False
        request.body, end = found
        del self._buffer[:end]
        return True


def _parsed(head: bytes) -> Request:
    words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(words) != 3 or words[2] not in {"HTTP/1.1", "HTTP/1.0"}:  # noqa: PLR2004
        raise BadRequestError(400, "expected METHOD TARGET HTTP/1.1")
    return Request(words[0], words[1], words[2] == "HTTP/1.0", headers_of(head), head)


def headers_of(head: bytes) -> dict[str, str]:
    """The headers of a head by their names in lower case, repeated ones joined.

    Raises: BadRequestError.
    """
    headers: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequestError(400, "expected each header as NAME: VALUE")
        name = name.lower()
        value = value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _length(headers: dict[str, str]) -> int | None:
    """The length of the body, None when it comes in chunks."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise BadRequestError(400, "expected chunked, and no Content-Length beside it")
        return None
    if length is None:
        return 0
    if not length.isascii() or not length.isdigit():
        raise BadRequestError(400, "expected Content-Length as digits")
    if len(length) > len(str(BODY_BYTES_MAX)) or int(length) > BODY_BYTES_MAX:
        raise BadRequestError(413, f"expected a body of at most {BODY_BYTES_MAX} bytes")
    return int(length)


def _chunks(buffer: bytearray) -> tuple[bytes, int] | None:
    """The body and where it ends, None while it is not complete."""
    body, at = bytearray(), 0
    while True:
        end = buffer.find(b"\r\n", at)
        if end < 0:
            if len(buffer) - at > CHUNK_LINE_BYTES_MAX:
                raise BadRequestError(400, "expected a chunk's length")
            return None
        size = _chunk_size(bytes(buffer[at:end]))
        at = end + 2
        if size == 0:
            trailers_end = buffer.find(b"\r\n", at)
            if trailers_end > at:
                raise BadRequestError(400, "expected no trailers")
            return None if trailers_end < 0 else (bytes(body), at + 2)
        if len(buffer) < at + size + 2:
            return None
        body += buffer[at : at + size]
        at += size + 2


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        return int(digits, 16)
    except ValueError as error:
        raise BadRequestError(400, "expected a chunk's length in hexadecimal") from error
