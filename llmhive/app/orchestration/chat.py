"""A chat request from its admission to its answer, whole or as a stream.

Whatever way it ends, the caller's place in flight, the token reservation, the breaker's
permit and the provider's connection are given back. The request's deadline is held by
whoever owns the task (the route), over this and over sending.
Source: DESIGN.md, sections 3.2, 3.4 and 3.7.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Generic, TypeVar

from llmhive.app.clock import Clock
from llmhive.app.errors import CapacityError, InvariantError
from llmhive.app.orchestration.attempts import Attempts
from llmhive.app.orchestration.context import RequestContext
from llmhive.app.orchestration.model import (
    ChatAnswer,
    ChatConfig,
    ChatRequest,
    DoneEvent,
    FinishReason,
    StreamEnd,
    StreamEvent,
    TokenEvent,
    Usage,
    tokens_of,
)
from llmhive.app.orchestration.opened_stream import OpenedStream, open_stream
from llmhive.app.orchestration.ports import (
    AdmissionT,
    Breakers,
    ChatObserver,
    Limiter,
    Principal,
    ProviderError,
    ProviderRoute,
)
from llmhive.app.orchestration.reports import Won
from llmhive.app.orchestration.seat import Seat

T = TypeVar("T")

# What a refusal by each limit is called.
REFUSALS = {
    "requests": ("rate_limited", "Too many requests in this window."),
    "tokens": ("tokens_limited", "Too many tokens in this window."),
    "in_flight": ("too_many_in_flight", "Too many requests at the same time."),
}


class LimitExceededError(CapacityError):
    """The caller's own limit is used up; nothing happened."""

    code = "rate_limited"
    http_status = 429
    title = "A limit of this user is used up."


class StreamBrokenError(CapacityError):
    """The answer broke off after some of it was delivered: it is incomplete (not definite)."""

    code = "no_provider_available"
    definite = False
    title = "The answer broke off and is incomplete."


class ChatService(Generic[AdmissionT]):
    """Answers chat requests: limits, breakers, providers in order, and the bill of tokens."""

    def __init__(
        self,
        routes: Sequence[ProviderRoute],
        *,
        limiter: Limiter[AdmissionT],
        breakers: Breakers,
        config: ChatConfig,
        clock: Clock,
        observer: ChatObserver,
        draw: Callable[[], float] = random.random,  # noqa: S311  jitter is no secret
    ) -> None:
        """Take the routes in the configured order; `draw` gives chances in [0, 1)."""
        self._attempts = Attempts(
            routes, breakers, config, clock=clock, draw=draw, observer=observer
        )
        self._limiter = limiter
        self._config = config
        self._observer = observer

    async def answer(
        self, request: ChatRequest, principal: Principal, context: RequestContext
    ) -> ChatAnswer:
        """Answer at once, whole.

        Raises: LimitExceededError, NoProviderError, RequestRefusedError,
        WallClockExhaustedError, what the limiter raises; CancelledError when the caller has
        left (`context.caller`). The limiter's headers stand in the context either way.
        """
        prompt_tokens = tokens_of(request.message)
        seat = await self._seated(prompt_tokens, principal, context)
        async with seat:
            won = await self._attempts.run(
                lambda provider: provider.complete(request),
                context.deadline,
                model=request.model,
            )
            won.attempt.succeeded()
            completion = won.result
            usage = completion.usage or Usage(prompt_tokens, tokens_of(completion.text))
            self._charge(seat, usage)
        return _answer(request, context, won, completion.finish_reason, usage, completion.text)

    async def stream(
        self, request: ChatRequest, principal: Principal, context: RequestContext
    ) -> AsyncGenerator[StreamEvent, None]:
        """Answer piece by piece; the last event is a DoneEvent, or an error is raised.

        Admission and the search for a provider come before the first event, and raise what
        `answer` raises; after it there is StreamBrokenError. Nothing is read ahead of the
        caller. Close it by `aclose`, which ends the provider's call.
        """
        prompt_tokens = tokens_of(request.message)
        seat = await self._seated(prompt_tokens, principal, context)
        won: Won[OpenedStream] | None = None
        try:
            async with seat:
                won = await self._attempts.run(
                    lambda provider: open_stream(provider.stream(request)),
                    context.deadline,
                    model=request.model,
                    lasts_s=context.deadline.remaining_s(),
                )
                while (text := await self._next_text(won)) is not None:
                    seat.tokens_used = prompt_tokens + won.result.tokens
                    yield TokenEvent(text)
                end = self._end_of(won)
                usage = end.usage or Usage(prompt_tokens, won.result.tokens)
                self._charge(seat, usage)
            yield DoneEvent(_answer(request, context, won, end.finish_reason, usage, None))
        finally:
            if won is not None:
                won.attempt.cancelled()
                await won.result.close()

    async def _seated(
        self, prompt_tokens: int, principal: Principal, context: RequestContext
    ) -> Seat[AdmissionT]:
        tokens = prompt_tokens + self._config.reserved_completion_tokens
        admission = await self._limiter.admit(principal.user_id, principal.tier, tokens=tokens)
        context.limit_headers = admission.headers()
        if admission.allowed:
            return Seat(self._limiter, admission, context)
        code, detail = REFUSALS[admission.refused_by or "requests"]
        wait_s = max(1, math.ceil(admission.retry_after_s))
        raise LimitExceededError(detail, code=code, retry_after_s=wait_s)

    async def _next_text(self, won: Won[OpenedStream]) -> str | None:
        try:
            return await won.result.next_text(self._config.stream_idle_timeout_s)
        except ProviderError as error:
            won.attempt.failed(error)
            raise StreamBrokenError(retry_after_s=math.ceil(self._config.retry_after_s)) from error

    def _end_of(self, won: Won[OpenedStream]) -> StreamEnd:
        end = won.result.end
        if end is None:
            raise InvariantError("A stream has no more text and no end.")
        won.attempt.succeeded()
        return end

    def _charge(self, seat: Seat[AdmissionT], usage: Usage) -> None:
        seat.tokens_used = usage.total_tokens
        self._observer.tokens_used(usage)


def _answer(
    request: ChatRequest,
    context: RequestContext,
    won: Won[T],
    finish_reason: FinishReason,
    usage: Usage,
    reply: str | None,
) -> ChatAnswer:
    provider = won.attempt.route.provider
    return ChatAnswer(
        answer_id=f"chat_{context.request_id.removeprefix('req_')}",
        request_id=context.request_id,
        conversation_id=request.conversation_id,
        reply=reply,
        provider=provider.name,
        model=provider.model,
        usage=usage,
        finish_reason=finish_reason,
    )
