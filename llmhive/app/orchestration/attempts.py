"""One request's way through the providers: who is called, how often, after how long.

The only retry layer there is. The same provider is tried again after a failure that may
pass, then the next one in the configured order; after a rate limit the next one at once.
What each end means stands in `retries`. Source: DESIGN.md, sections 3.3 and 3.4.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from llmhive.app.breakers.permit import BreakerOpenError
from llmhive.app.clock import Clock
from llmhive.app.errors import CallerError, CapacityError
from llmhive.app.orchestration.context import Deadline, WallClockExhaustedError
from llmhive.app.orchestration.model import ChatConfig
from llmhive.app.orchestration.ports import (
    Breakers,
    ChatObserver,
    CompletionProvider,
    ProviderError,
    ProviderRoute,
)
from llmhive.app.orchestration.reports import Attempt, Won, rest_s
from llmhive.app.orchestration.retries import AttemptEnd, RetryBudget, advise, backoff_s

COOLING = "cooling_down"  # the reason of a BreakerOpenError that a rate limit caused

T = TypeVar("T")
Call = Callable[[CompletionProvider], Awaitable[T]]


class NoProviderError(CapacityError):
    """Every provider failed or is not called for now: try again later (not definite)."""

    code = "no_provider_available"
    definite = False
    title = "No model can answer now."

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s=max(1, math.ceil(retry_after_s)))


class RequestRefusedError(CallerError):
    """A provider called this very request malformed, and so would the others."""

    code = "invalid_request"
    http_status = 422
    title = "The model refused this request; it may be too long."


@dataclass(slots=True)
class _Candidate:
    """A provider as one request sees it."""

    route: ProviderRoute
    is_fallback: bool
    attempts: int = 0
    is_out: bool = False  # nothing more is to be expected of it
    rests_until_s: float | None = None  # it asked to be called then, not before
    opens_in_s: float | None = None  # its breaker is open for so long


class Attempts:
    """Finds the first provider that answers, within the request's deadline."""

    def __init__(
        self,
        routes: Sequence[ProviderRoute],
        breakers: Breakers,
        config: ChatConfig,
        *,
        clock: Clock,
        draw: Callable[[], float],
        observer: ChatObserver,
    ) -> None:
        """Take the routes in the configured order, and `draw`, which gives chances in [0, 1)."""
        self._routes = tuple(routes)
        self._breakers = breakers
        self._config = config
        self._clock = clock
        self._draw = draw
        self._observer = observer
        self._budgets = {route.provider.name: RetryBudget(config.retry) for route in routes}

    async def run(
        self, call: Call[T], deadline: Deadline, *, model: str | None, lasts_s: float | None = None
    ) -> Won[T]:
        """Call one provider after the other until one answers.

        Takes: model, whose provider is asked first; lasts_s, how long the permit is needed
        when that is longer than a call may take (streams).
        Raises: NoProviderError, RequestRefusedError, WallClockExhaustedError.
        """
        ordered = self._ordered(model)
        candidates = [_Candidate(route, is_fallback=route is not ordered[0]) for route in ordered]
        while True:
            for candidate in candidates:
                won = await self._exhaust(candidate, call, deadline, lasts_s)
                if won is not None:
                    return won
            await self._rest(candidates, deadline)

    def _ordered(self, model: str | None) -> Sequence[ProviderRoute]:
        if model is None:
            return self._routes
        return sorted(self._routes, key=lambda route: route.provider.model != model)

    # -- one provider

    async def _exhaust(
        self, candidate: _Candidate, call: Call[T], deadline: Deadline, lasts_s: float | None
    ) -> Won[T] | None:
        """Call one provider as often as is worth it; None when the next one is to be tried."""
        candidate.opens_in_s = candidate.rests_until_s = None
        while self._may_try(candidate):
            if deadline.remaining_s() <= 0:
                raise WallClockExhaustedError
            attempt = await self._admitted(candidate, lasts_s)
            if attempt is None:
                return None
            try:
                return await self._won(attempt, call)
            except ProviderError as error:
                wait_s = self._learn(candidate, error)
            if wait_s is None or wait_s >= deadline.remaining_s():
                return None
            await self._clock.sleep(wait_s)
        candidate.is_out = True
        return None

    def _may_try(self, candidate: _Candidate) -> bool:
        if candidate.is_out or candidate.attempts >= self._config.retry.attempts:
            return False
        return not candidate.attempts or self._budgets[candidate.route.provider.name].has_some

    async def _admitted(self, candidate: _Candidate, lasts_s: float | None) -> Attempt | None:
        """Ask the breaker, then pay for a retry; None when either says no.

        In that order, since what is refused costs nothing. The candidate remembers who said no.
        """
        route = candidate.route
        lease_s = self._config.llm_timeout_s if lasts_s is None else lasts_s
        try:
            permit = await self._breakers.acquire(
                route.provider.name, route.breaker, attempt_timeout_s=lease_s
            )
        except BreakerOpenError as error:
            if error.reason == COOLING:
                candidate.rests_until_s = self._clock.monotonic() + error.wait_s
            else:
                candidate.opens_in_s = error.wait_s
            return None
        if candidate.attempts and not self._budgets[route.provider.name].spend():
            permit.neutral()  # others took the last retry meanwhile
            candidate.is_out = True
            return None
        self._count(candidate)
        return Attempt(route, permit, self._config, clock=self._clock, observer=self._observer)

    def _count(self, candidate: _Candidate) -> None:
        name = candidate.route.provider.name
        if candidate.attempts:
            self._observer.retried(name)
        else:
            self._budgets[name].earn()
            if candidate.is_fallback:
                self._observer.fell_back(name)
        candidate.attempts += 1

    async def _won(self, attempt: Attempt, call: Call[T]) -> Won[T]:
        try:
            async with asyncio.timeout(self._config.llm_timeout_s):
                return Won(await call(attempt.route.provider), attempt)
        except TimeoutError as error:
            timed_out = ProviderError(AttemptEnd.TIMED_OUT, "No answer within the time-out.")
            attempt.failed(timed_out)
            raise timed_out from error
        except ProviderError as error:
            attempt.failed(error)
            raise
        except BaseException:
            # The caller left, or the request's own time is over: no word about the provider.
            attempt.cancelled()
            raise

    def _learn(self, candidate: _Candidate, error: ProviderError) -> float | None:
        """How long to wait before the next try here; None when there is none, for now or at all."""
        advice = advise(error.end, is_delivered=False)
        if advice.retries_here:
            asked_s = error.wait_s or 0.0
            if asked_s <= self._config.retry.cap_s:
                drawn_s = backoff_s(candidate.attempts, self._draw(), self._config.retry)
                return max(drawn_s, asked_s)
        elif not advice.tries_next:
            raise RequestRefusedError from error
        elif error.end is AttemptEnd.RATE_LIMITED:
            candidate.rests_until_s = self._clock.monotonic() + rest_s(error, self._config)
            return None
        candidate.is_out = True
        return None

    # -- all providers

    async def _rest(self, candidates: list[_Candidate], deadline: Deadline) -> None:
        """Wait for the first provider that asked to be called later; if none did, give up."""
        now_s = self._clock.monotonic()
        rests = [each.rests_until_s - now_s for each in candidates if each.rests_until_s]
        shortest_s = max(0.0, min(rests, default=math.inf))
        if shortest_s >= deadline.remaining_s():
            raise NoProviderError(self._advised_wait_s(candidates, rests))
        # Everybody who was told the same moment would come at that moment.
        await self._clock.sleep(shortest_s + self._draw() * self._config.retry.base_s)

    def _advised_wait_s(self, candidates: list[_Candidate], rests: list[float]) -> float:
        openings = [each.opens_in_s for each in candidates if each.opens_in_s is not None]
        waits = [*rests, *openings]
        if len(waits) < len(candidates):  # one of them was called and failed
            waits.append(self._config.retry_after_s)
        return min(waits)
