"""The outermost layer: a request's id, its headers, its log line, its metrics, its last error.

What happens to the status, the headers and the end of the body is seen here, whoever
answers; and no request's body is waited for longer than the bound. Pure ASGI.
Source: DESIGN.md, sections 3.1 and 3.8; RFC 9110 section 15.5.9 for 408.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Final

from llmhive.app.api.application import App, Message, Receive, Scope, Send
from llmhive.app.api.middleware.cors import Cors, RawHeaders
from llmhive.app.api.problem import send_problem
from llmhive.app.clock import Clock
from llmhive.app.errors import BodyLateError, CapacityError
from llmhive.app.telemetry import log, metrics
from llmhive.app.telemetry.health import HealthBoard
from llmhive.app.telemetry.request_record import (
    CURRENT,
    SCOPE_KEY,
    RequestRecord,
    new_request_id,
)

SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    # Two years, as hstspreload.org asks (2025-10); browsers heed it over HTTPS only.
    (b"strict-transport-security", b"max-age=63072000; includeSubDomains"),
    (b"cache-control", b"no-store"),
)
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# A caller's own id is kept when it is an id and nothing else.
CORRELATION_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# nginx's status for a caller that did not wait for the answer.
CALLER_LEFT: Final = 499
# What comes after half a body is no request: RFC 9110, section 15.5.9.
CLOSE: Final = (b"connection", b"close")


class Exchange:
    """One request and its answer, as they pass by."""

    __slots__ = (
        "_add", "_body_by_s", "_is_whole", "_receive", "_send", "is_complete", "record", "status",
    )  # fmt: skip

    def __init__(
        self,
        record: RequestRecord,
        receive: Receive,
        send: Send,
        add: Sequence[tuple[bytes, bytes]],
        body_by_s: float,
    ) -> None:
        """Take what to add to the answer, and when the loop's clock is too late for the body."""
        self.record = record
        self.status = 0
        self.is_complete = False
        self._receive = receive
        self._send = send
        self._add = add
        self._body_by_s = body_by_s
        self._is_whole = False

    async def receive(self) -> Message:
        """Pass on what the caller sends, and see it leave.

        Raises: BodyLateError (definite).
        """
        message = await (self._receive() if self._is_whole else self._receive_in_time())
        if message["type"] != "http.disconnect":
            self._is_whole = not message.get("more_body", False)
        elif not self.is_complete:
            self.record.caller_left = True
        return message

    async def _receive_in_time(self) -> Message:
        limit = asyncio.timeout_at(self._body_by_s)
        try:
            async with limit:
                return await self._receive()
        except TimeoutError:
            if not limit.expired():
                raise
            if CLOSE not in self._add:
                self._add = [*self._add, CLOSE]
            raise BodyLateError from None

    async def send(self, message: Message) -> None:
        """Pass on what is answered, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = _merged(message.get("headers", ()), self._add)
        elif not message.get("more_body", False):
            self.is_complete = True
        await self._send(message)


def _merged(given: Any, added: Sequence[tuple[bytes, bytes]]) -> RawHeaders:
    """Both, the answer's own fields first; of ours only those that it does not have."""
    headers = [(bytes(name).lower(), value) for name, value in given]
    own = {name for name, _ in headers}
    headers += [(name, value) for name, value in added if name == b"vary" or name not in own]
    return headers


class ExchangeMiddleware:
    """Around everything else."""

    def __init__(
        self,
        app: App,
        *,
        served_by: str,
        cors: Cors,
        board: HealthBoard,
        clock: Clock,
        body_deadline_s: float = 30.0,
    ) -> None:
        self._app = app
        self._cors = cors
        self._board = board
        self._clock = clock
        self._body_deadline_s = body_deadline_s
        self.fixed = (*SECURITY_HEADERS, (b"x-served-by", served_by.encode("ascii", "replace")))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP is refused by the server before."""
        if scope["type"] != "http":
            return
        record = RequestRecord(new_request_id(), self._clock.monotonic())
        record.correlation_id = _correlation_id(scope)
        scope[SCOPE_KEY] = record
        body_by_s = asyncio.get_running_loop().time() + self._body_deadline_s
        exchange = Exchange(record, receive, send, self._added(scope, record), body_by_s)
        token = CURRENT.set(record)
        metrics.HTTP_IN_FLIGHT.inc()
        try:
            await self._serve(scope, exchange)
        finally:
            try:
                self._account(scope, exchange)
            finally:
                metrics.HTTP_IN_FLIGHT.dec()
                CURRENT.reset(token)

    async def _serve(self, scope: Scope, exchange: Exchange) -> None:
        preflight = self._cors.preflight(scope)
        try:
            if preflight is not None:
                exchange.record.route = "preflight"
                await _send_empty(exchange.send, preflight)
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            await self._interrupt(scope, exchange)
            raise
        except Exception as error:  # noqa: BLE001  the outermost layer
            log.failure("unhandled_error", error)
            exchange.record.error_code = "internal_error"
            if not exchange.status:
                await send_problem(scope, exchange.send, error)

    async def _interrupt(self, scope: Scope, exchange: Exchange) -> None:
        """Cancelled: by a shutdown whose grace is over, unless the caller has left."""
        if exchange.status or exchange.record.caller_left:
            return
        await send_problem(
            scope,
            exchange.send,
            CapacityError("This process is about to end.", code="draining", retry_after_s=1),
        )

    def _added(self, scope: Scope, record: RequestRecord) -> RawHeaders:
        added = [*self.fixed, (b"x-request-id", record.request_id.encode())]
        added += self._cors.headers(scope)
        if self._board.is_draining:
            added.append(CLOSE)
        return added

    def _account(self, scope: Scope, exchange: Exchange) -> None:
        record = exchange.record
        status = CALLER_LEFT if record.caller_left else exchange.status or 500
        if not exchange.is_complete and not record.caller_left and not record.error_code:
            record.error_code = "internal_error"
        code = record.error_code
        if code is None and status >= 400 and not record.caller_left:  # noqa: PLR2004
            code = f"http_{status}"
        duration_s = self._clock.monotonic() - record.started_s
        method = scope["method"] if scope["method"] in METHODS else "other"
        metrics.child(metrics.HTTP_REQUESTS, record.route, method, str(status)).inc()
        metrics.child(metrics.HTTP_DURATION, record.route).observe(duration_s)
        if record.caller_left:
            metrics.CALLER_LEFT.inc()
        elif code:
            metrics.child(metrics.ERRORS, code).inc()
        log.event(
            "request",
            route=record.route,
            method=method,
            status=status,
            duration_ms=round(duration_s * 1000, 3),
            user=log.user_digest(record.user_id) if record.user_id is not None else None,
            code=code,
            correlation_id=record.correlation_id,
        )


def _correlation_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and CORRELATION_ID.fullmatch(value):
            return str(value.decode())
    return None


async def _send_empty(send: Send, headers: RawHeaders) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
