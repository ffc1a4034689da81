"""What breakers and counters hear of a call of a provider: each call's end, once.

Source: DESIGN.md, section 3.3, "What counts".
"""

from __future__ import annotations

from typing import Generic, TypeVar

from llmhive.app.clock import Clock
from llmhive.app.orchestration.model import ChatConfig
from llmhive.app.orchestration.ports import ChatObserver, Permit, ProviderError, ProviderRoute
from llmhive.app.orchestration.retries import AttemptEnd, BreakerReport, advise

SUCCEEDED = "success"
CANCELLED = "cancelled"

T = TypeVar("T")


class Attempt:
    """One permitted call of a provider, from its start to the one end that counts."""

    __slots__ = ("_clock", "_config", "_is_over", "_observer", "_permit", "_started_s", "route")

    def __init__(
        self,
        route: ProviderRoute,
        permit: Permit,
        config: ChatConfig,
        *,
        clock: Clock,
        observer: ChatObserver,
    ) -> None:
        self.route = route
        self._permit = permit
        self._config = config
        self._clock = clock
        self._observer = observer
        self._started_s = clock.monotonic()
        self._is_over = False

    def succeeded(self) -> None:
        """The answer was complete."""
        self._permit.succeed()
        self._ended(SUCCEEDED)

    def cancelled(self) -> None:
        """The call was given up for no fault of the provider."""
        self._permit.neutral()
        self._ended(CANCELLED)

    def failed(self, error: ProviderError) -> None:
        """The call ended in `error`; whether that counts stands in the table of `retries`."""
        match advise(error.end, is_delivered=False).report:
            case BreakerReport.FAILURE:
                self._permit.fail(error.end.value)
            case BreakerReport.CONNECT_FAILURE:
                self._permit.fail(error.end.value, connect=True)
            case BreakerReport.COOL_DOWN:
                self._permit.cool_down(rest_s(error, self._config))
            case BreakerReport.NEUTRAL:
                self._permit.neutral()
        self._ended(error.end.value)

    def _ended(self, outcome: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        duration_s = self._clock.monotonic() - self._started_s
        self._observer.attempt_ended(self.route.provider.name, outcome, duration_s)


class Won(Generic[T]):
    """What a call gave, and the attempt that still has to hear how it ended."""

    __slots__ = ("attempt", "result")

    def __init__(self, result: T, attempt: Attempt) -> None:
        self.result = result
        self.attempt = attempt


def rest_s(error: ProviderError, config: ChatConfig) -> float:
    """How long a credential has to rest after a rate limit, or after its money ran out."""
    if error.end is AttemptEnd.QUOTA_EXHAUSTED:
        return max(error.wait_s or 0.0, config.quota_rest_s)
    return config.rate_limit_rest_s if error.wait_s is None else error.wait_s
