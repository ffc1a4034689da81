"""Errors as `application/problem+json`: a stable code, a sentence, the request's id.

No internals, no payload: what is not an LLMHiveError is told as `internal_error` and nothing
else. Source: RFC 9457; RFC 9110 section 10.2.3 for Retry-After.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import orjson

from llmhive.app.errors import LLMHiveError
from llmhive.app.safety.masking import Masker
from llmhive.app.telemetry.request_record import record_of

CONTENT_TYPE: Final = b"application/problem+json"
TYPE_PREFIX: Final = "urn:llmhive:problem:"

MASKER: Final = Masker()
"""Masks what leaves in answers; the composition root teaches it the configured secrets."""

# These always say when to come again; a second is the shortest wait that HTTP can express.
SAY_WHEN: Final = (429, 503)
RETRY_AFTER_DEFAULT_S: Final = 1

RawHeaders = list[tuple[bytes, bytes]]


def body_of(error: BaseException, request_id: str) -> bytes:
    """The body for any error: {type, title, status, code, detail, request_id}."""
    known = error if isinstance(error, LLMHiveError) else LLMHiveError()
    told = {
        "type": TYPE_PREFIX + known.code,
        "title": known.title,
        "status": known.http_status,
        "code": known.code,
        "detail": MASKER.text(known.detail),
        "request_id": request_id,
    }
    return orjson.dumps(told)


def headers_of(
    error: BaseException, body: bytes, extra: Iterable[tuple[bytes, bytes]] = ()
) -> RawHeaders:
    """The headers for any error: type, length, Retry-After if it says when, and `extra`."""
    headers: RawHeaders = [
        (b"content-type", CONTENT_TYPE),
        (b"content-length", str(len(body)).encode()),
        *extra,
    ]
    if any(name == b"retry-after" for name, _ in headers):
        return headers
    retry_after_s = error.retry_after_s if isinstance(error, LLMHiveError) else None
    if retry_after_s is None and status_of(error) in SAY_WHEN:
        retry_after_s = RETRY_AFTER_DEFAULT_S
    if retry_after_s is not None:
        headers.append((b"retry-after", str(max(0, math.ceil(retry_after_s))).encode()))
    return headers


def status_of(error: BaseException) -> int:
    """The HTTP status for any error."""
    return error.http_status if isinstance(error, LLMHiveError) else 500


async def send_problem(
    scope: Any, send: Any, error: BaseException, *, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Answer an ASGI request with an error, and note its code for the log and the metrics."""
    record = record_of(scope)
    record.error_code = error.code if isinstance(error, LLMHiveError) else LLMHiveError.code
    body = body_of(error, record.request_id)
    raw = headers_of(error, body, headers)
    await send({"type": "http.response.start", "status": status_of(error), "headers": raw})
    is_head = scope.get("method") == "HEAD"
    await send({"type": "http.response.body", "body": b"" if is_head else body})
