"""`POST /api/chat` as a thin ASGI app: bytes in, bytes out, one task for the caller's leaving.

Every request ends by its wall clock, whatever it is doing then; every stream that has begun
ends in exactly one `done` or `error` event. Source: DESIGN.md, sections 3.1, 3.4 and 3.9.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from llmhive.app.accounts.model import Principal
from llmhive.app.accounts.model import Scope as KeyScope
from llmhive.app.api.application import Receive, Scope, Send, ThinRoute
from llmhive.app.api.chat_schema import operation, read_request, schemas
from llmhive.app.api.identity import Identity
from llmhive.app.api.problem import MASKER, send_problem
from llmhive.app.clock import Clock
from llmhive.app.errors import CallerError, CapacityError, InvariantError, LLMHiveError
from llmhive.app.orchestration.chat import ChatService
from llmhive.app.orchestration.context import (
    CallerWatch,
    Deadline,
    RequestContext,
    WallClockExhaustedError,
)
from llmhive.app.orchestration.model import ChatAnswer, ChatRequest, StreamEvent, TokenEvent
from llmhive.app.telemetry.metrics import STREAM_ENDS, child
from llmhive.app.telemetry.request_record import RequestRecord, record_of

PATH = "/api/chat"
# A caller that reads takes an event within milliseconds; one that does not is not waited for.
LAST_WORD_WITHIN_S = 1.0
JSON_HEADERS = [(b"content-type", b"application/json")]
STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold tokens back
]


@dataclass(frozen=True, slots=True)
class ChatRouteConfig:
    """What the route itself needs to know."""

    models: Collection[str]
    wall_clock_s: float = 120.0
    body_bytes_max: int = 1_000_000


class CallerLeftError(Exception):
    """The caller left before the request was whole."""


def chat_route(
    chat: ChatService[Any], identity: Identity, config: ChatRouteConfig, *, clock: Clock
) -> ThinRoute:
    """The route and its share of the OpenAPI document."""
    app = ChatApp(chat, identity, config, clock=clock)
    return ThinRoute(PATH, "POST", app, operation=operation(), schemas=schemas())


class ChatApp:
    """The ASGI app behind the route."""

    def __init__(
        self, chat: ChatService[Any], identity: Identity, config: ChatRouteConfig, *, clock: Clock
    ) -> None:
        self._chat = chat
        self._identity = identity
        self._config = config
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        record = record_of(scope)
        context = RequestContext(
            record.request_id,
            Deadline(self._clock, self._config.wall_clock_s),
            CallerWatch(partial(_until_gone, receive)),
        )
        answering = _Answering(scope, send, context)
        try:
            await self._serve_in_time(scope, receive, answering)
        except LLMHiveError as error:
            await answering.fail(error)
        except CallerLeftError:
            answering.caller_left()
        except asyncio.CancelledError:
            if not context.caller.absorb():
                await answering.break_off(_draining())
                raise
            answering.caller_left()
        except BaseException:
            await answering.break_off(InvariantError())
            raise

    async def _serve_in_time(self, scope: Scope, receive: Receive, answering: _Answering) -> None:
        wall_clock = asyncio.timeout(self._config.wall_clock_s)
        try:
            async with wall_clock:
                await self._serve(scope, receive, answering)
        except TimeoutError:
            if wall_clock.expired():
                raise WallClockExhaustedError from None
            raise

    async def _serve(self, scope: Scope, receive: Receive, answering: _Answering) -> None:
        principal = await self._identity.of(scope, needs=KeyScope.CHAT)
        body = await _read_body(scope, receive, self._config.body_bytes_max)
        request = read_request(body, self._config.models)
        if request.stream:
            await self._stream(request, principal, answering)
        else:
            answer = await self._chat.answer(request, principal, answering.context)
            await answering.answer(answer)

    async def _stream(
        self, request: ChatRequest, principal: Principal, answering: _Answering
    ) -> None:
        async with aclosing(self._chat.stream(request, principal, answering.context)) as events:
            async for event in events:
                await answering.event(event)


class _Answering:
    """One answer on its way out: at most one, and of a stream exactly one end."""

    __slots__ = ("_has_begun", "_is_over", "_record", "_scope", "_send", "context")

    def __init__(self, scope: Scope, send: Send, context: RequestContext) -> None:
        self.context = context
        self._scope = scope
        self._send = send
        self._record: RequestRecord = record_of(scope)
        self._has_begun = False  # a stream that owes its end
        self._is_over = False

    async def answer(self, answer: ChatAnswer) -> None:
        """Send a whole answer."""
        self._is_over = True
        body = orjson.dumps(_told(answer))
        length = (b"content-length", b"%d" % len(body))
        headers = [*JSON_HEADERS, length, *self.context.limit_headers]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def event(self, event: StreamEvent) -> None:
        """Send an event of a stream, with the head of the answer before the first."""
        if not self._has_begun:
            self._has_begun = True
            headers = [*STREAM_HEADERS, *self.context.limit_headers]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        if isinstance(event, TokenEvent):
            body = b'event: token\ndata: {"text":%b}\n\n' % orjson.dumps(event.text)
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
        else:
            await self._end(b"done", orjson.dumps(_told(event.answer)))

    async def _end(self, name: bytes, data: bytes) -> None:
        self._is_over = True
        child(STREAM_ENDS, name.decode()).inc()
        body = b"event: %b\ndata: %b\n\n" % (name, data)
        await self._send({"type": "http.response.body", "body": body})

    async def fail(self, error: LLMHiveError) -> None:
        """Tell the caller of an error: as a problem, or as the end of a stream that has begun."""
        if self._has_begun:
            await self.break_off(error)
        elif not self._is_over:
            self._is_over = True
            await send_problem(self._scope, self._send, error, headers=self._headers_beside(error))

    def _headers_beside(self, error: LLMHiveError) -> list[tuple[bytes, bytes]]:
        headers = list(self.context.limit_headers)
        if error.http_status == 401:  # noqa: PLR2004  Unauthorized: RFC 9110, section 11.6.1
            headers.append((b"www-authenticate", b"Bearer"))
        return headers

    async def break_off(self, error: LLMHiveError) -> None:
        """End a stream that has begun and not ended by an `error` event."""
        if self._is_over or not self._has_begun:
            return
        self._record.error_code = error.code
        told: dict[str, Any] = {
            "code": error.code,
            "detail": MASKER.text(error.detail),
            "request_id": self.context.request_id,
        }
        if error.retry_after_s is not None:
            told["retry_after"] = error.retry_after_s
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD_WITHIN_S):
                await self._end(b"error", orjson.dumps(told))

    def caller_left(self) -> None:
        """Note that nobody is there any more."""
        self._record.caller_left = True
        if self._has_begun and not self._is_over:
            child(STREAM_ENDS, "caller_left").inc()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_body(scope: Scope, receive: Receive, bytes_max: int) -> bytes:
    """The whole body, which must not be longer than `bytes_max`."""
    _check_headers(scope, bytes_max)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerLeftError
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > bytes_max:
            raise _too_large(bytes_max)
        if not message.get("more_body", False):
            return b"".join(pieces)


def _check_headers(scope: Scope, bytes_max: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:19]) > bytes_max:
            raise _too_large(bytes_max)
        if name == b"content-type" and value.lower().lstrip().startswith(b"multipart/"):
            raise _unsupported("JSON is served here, no forms with parts.")
        if name == b"content-encoding" and value.strip().lower() != b"identity":
            raise _unsupported("Bodies are taken as they are, not compressed.")


def _too_large(bytes_max: int) -> CallerError:
    return CallerError(
        f"The body is longer than {bytes_max} bytes.", code="body_too_large", http_status=413
    )


def _unsupported(detail: str) -> CallerError:
    return CallerError(detail, code="unsupported_media_type", http_status=415)


def _draining() -> CapacityError:
    return CapacityError("This process is about to end.", code="draining", retry_after_s=1)


def _told(answer: ChatAnswer) -> dict[str, Any]:
    usage = answer.usage
    told: dict[str, Any] = {
        "id": answer.answer_id,
        "provider": answer.provider,
        "model": answer.model,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
        },
        "iterations": answer.iterations,
        "partial": answer.is_partial,
        "finish_reason": answer.finish_reason.value,
        "request_id": answer.request_id,
    }
    if answer.reply is not None:
        told["reply"] = answer.reply
    if answer.conversation_id is not None:
        told["conversation_id"] = answer.conversation_id
    return told
