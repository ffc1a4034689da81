"""The answer to what is no HTTP request: as every other error, with every header.

The server asks here when it cannot even parse a head, so no middleware ran.
"""

from __future__ import annotations

from llmhive.app.api.middleware.exchange import ExchangeMiddleware
from llmhive.app.api.problem import body_of, headers_of
from llmhive.app.errors import CallerError
from llmhive.app.telemetry import log, metrics
from llmhive.app.telemetry.request_record import new_request_id

WORDING = {
    400: ("malformed_request", "This is no HTTP request."),
    431: ("headers_too_large", "The head of this request is too large."),
}


class ProblemRefusals:
    """Words and counts refusals of the server itself."""

    def __init__(self, exchange: ExchangeMiddleware) -> None:
        self._exchange = exchange

    def answer(self, status: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Give headers and body, and count and log the refusal."""
        code, detail = WORDING[status]
        error = CallerError(detail, code=code, http_status=status)
        request_id = new_request_id()
        body = body_of(error, request_id)
        added = [*self._exchange.fixed, (b"x-request-id", request_id.encode())]
        added += [(b"vary", b"Origin"), (b"connection", b"close")]
        metrics.child(metrics.HTTP_REQUESTS, "unmatched", "other", str(status)).inc()
        metrics.child(metrics.ERRORS, code).inc()
        log.event("request", route="unmatched", status=status, code=code, request_id=request_id)
        return headers_of(error, body, added), body
