"""What is known of the request at hand: made by the outermost middleware, filled on the way.

Whoever serves the request writes here what the log line and the metrics will say. It follows
the request through tasks and threads by a context variable. Imports nothing of the service.
"""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

SCOPE_KEY = "llmhive.request"


@dataclass(slots=True)
class RequestRecord:
    """One request, as the log and the metrics will tell of it.

    `route` is a template from the closed set of routes; `user_id` is logged as a salted hash
    only; `error_code` is what is counted in llmhive_errors_total, also when it came to light
    after the headers (a stream that ends in `error`); `caller_left` makes the status 499.
    """

    request_id: str
    started_s: float = 0.0
    route: str = "unmatched"
    user_id: str | None = None
    correlation_id: str | None = None
    error_code: str | None = None
    caller_left: bool = False


CURRENT: ContextVar[RequestRecord | None] = ContextVar("llmhive_request", default=None)


def new_request_id() -> str:
    """An id that nobody can guess and that nothing but the log is looked up by."""
    return f"req_{secrets.token_hex(12)}"


def record_of(scope: Any) -> RequestRecord:
    """The record of an ASGI scope; a fresh one when no middleware made any (tests)."""
    record = scope.get(SCOPE_KEY)
    if not isinstance(record, RequestRecord):
        record = scope[SCOPE_KEY] = RequestRecord(new_request_id())
    return record


def current_request_id() -> str | None:
    """The id of the request at hand, None outside of any."""
    record = CURRENT.get()
    return record.request_id if record else None
