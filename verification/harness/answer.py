"""What came back for a request, complete or not: a value, with what claims ask of it. A leaf."""

from __future__ import annotations

import json as json_format
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was sent: kept for the evidence."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, complete or not. `error` names what the network did, or is None.

    `error` is one of refused, connect_timeout, unreachable (the request certainly was not
    sent: `never_sent`), reset, closed, read_timeout, write_timeout, left, protocol, too_large,
    invalid_request. With an error, `status` is 0 unless headers came, and `body` is what came.
    """

    request: Request
    status: int = 0
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    body: bytes = b""
    chunks: tuple[tuple[float, bytes], ...] = ()
    sent_s: float
    first_byte_s: float | None = None
    done_s: float
    error: str | None = None

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none shows as replacement characters."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body parsed, or None when it is no JSON: claims compare what they expect."""
        try:
            return json_format.loads(self.body)
        except ValueError:
            return None

    @property
    def code(self) -> str | None:
        """The stable error code of a problem+json body, or None."""
        body = self.json()
        code = body.get("code") if isinstance(body, dict) else None
        return code if isinstance(code, str) else None

    @property
    def served_by(self) -> str | None:
        """The worker that answered: `<instance>/<host>-<pid>`."""
        served_by: str | None = self.headers.get("x-served-by")
        return served_by

    @property
    def worker_pid(self) -> int | None:
        """The process id in `X-Served-By`, or None."""
        tail = (self.served_by or "").rpartition("-")[2]
        return int(tail) if tail.isdecimal() else None

    @property
    def request_id(self) -> str | None:
        """The service's id for this request."""
        request_id: str | None = self.headers.get("x-request-id")
        return request_id

    @property
    def retry_after_s(self) -> int | None:
        """`Retry-After` in seconds, or None when absent or no number."""
        value = self.headers.get("retry-after", "")
        return int(value) if value.isdecimal() else None

    @property
    def seconds(self) -> float:
        """From just before connecting to the last byte, or to the error."""
        return self.done_s - self.sent_s

    @property
    def is_complete(self) -> bool:
        """A status came, and the body to its end."""
        return self.error is None

    @property
    def never_sent(self) -> bool:
        """No connection was made, so the request certainly had no effect."""
        return self.error in {"refused", "connect_timeout", "unreachable", "invalid_request"}

    def __str__(self) -> str:
        ending = f", {self.error}" if self.error else ""
        said = f" {self.text[:200]!r}" if self.body else ""
        return (
            f"{self.request.method} {httpx.URL(self.request.url).path} -> "
            f"{self.status or 'no status'}{ending} after {self.seconds:.3f} s{said}"
        )
