"""Which web origins may read answers: the listed ones, on every answer, errors included.

There are no cookies, so credentials are never allowed. Source: Fetch standard, section 3.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

EXPOSED: Final = b"X-Request-ID, X-Served-By, Retry-After, RateLimit, RateLimit-Policy"
ALLOWED_HEADERS: Final = b"Authorization, Content-Type, X-Request-ID"
ALLOWED_METHODS: Final = b"GET, POST, PUT, DELETE, OPTIONS"
# Ten minutes: a browser asks again soon after the list has changed.
MAX_AGE_S: Final = b"600"

RawHeaders = list[tuple[bytes, bytes]]


class Cors:
    """The CORS fields of every answer."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers(self, scope: Any) -> RawHeaders:
        """The fields for the answer to this request; `Vary` stands there always."""
        origin = _field(scope, b"origin")
        found = [(b"vary", b"Origin")]
        if origin is not None and origin in self._origins:
            found.append((b"access-control-allow-origin", origin))
            found.append((b"access-control-expose-headers", EXPOSED))
        return found

    def preflight(self, scope: Any) -> RawHeaders | None:
        """The further fields of a preflight's answer, None when this is no preflight."""
        if scope["method"] != "OPTIONS" or _field(scope, b"access-control-request-method") is None:
            return None
        if _field(scope, b"origin") not in self._origins:
            return []
        return [
            (b"access-control-allow-methods", ALLOWED_METHODS),
            (b"access-control-allow-headers", ALLOWED_HEADERS),
            (b"access-control-max-age", MAX_AGE_S),
        ]


def _field(scope: Any, wanted: bytes) -> bytes | None:
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return None
