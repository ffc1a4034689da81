"""What features tell their observers, as metrics and log events.

Each class has the shape of a feature's observer; values come from closed sets, so each is
one series. Imports nothing of the features.
"""

from __future__ import annotations

from typing import Final, Protocol

from llmhive.app.telemetry import log, metrics

STATES: Final = {"closed": 0, "half_open": 1, "open": 2}


class BreakerMetrics:
    """Watches breakers."""

    def state_seen(self, name: str, state: str) -> None:
        """This worker sees `state`."""
        metrics.child(metrics.CIRCUIT_STATE, name).set(STATES[state])

    def transitioned(self, name: str, state: str, reason: str) -> None:
        """This worker sees a state other than before."""
        metrics.child(metrics.CIRCUIT_TRANSITIONS, name, str(state)).inc()
        level = "warning" if state == "open" else "info"
        log.event("circuit_moved", level=level, service=name, to=str(state), reason=reason)

    def call_counted(self, name: str, outcome: str) -> None:
        """A call ended, or was rejected."""
        metrics.child(metrics.CIRCUIT_CALLS, name, str(outcome)).inc()


class CountedAdmission(Protocol):
    """The limiter's decision."""

    @property
    def refused_by(self) -> str | None:
        """Which limit said no."""


class LimitMetrics:
    """Watches the limits."""

    def decided(self, admission: CountedAdmission, *, is_local: bool) -> None:
        """A request was admitted or refused; `is_local`: by this worker alone."""
        source = "local" if is_local else "shared"
        if admission.refused_by is None:
            metrics.child(metrics.RATELIMIT_DECISIONS, "allowed", source).inc()
        else:
            metrics.child(metrics.RATELIMIT_DECISIONS, "refused", source).inc()
            metrics.child(metrics.RATELIMIT_BLOCKS, str(admission.refused_by)).inc()


class RedisMetrics:
    """Watches the link to Redis."""

    def __init__(self) -> None:
        metrics.REDIS_UP.set(1)

    def redis_failed(self, kind: str) -> None:
        """A command or an attempt to connect failed."""
        metrics.child(metrics.REDIS_FAILURES, str(kind)).inc()

    def redis_moved(self, *, is_up: bool) -> None:
        """The link went down or came back."""
        metrics.REDIS_UP.set(int(is_up))
        log.event("redis_moved", level="info" if is_up else "warning", is_up=is_up)


class CountedTokens(Protocol):
    """Tokens of one answer."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens that were sent."""

    @property
    def completion_tokens(self) -> int:
        """Tokens that came back."""


class ChatMetrics:
    """Watches chat requests and their attempts."""

    def attempt_ended(self, provider: str, outcome: str, duration_s: float) -> None:
        """A call of a provider ended."""
        metrics.child(metrics.PROVIDER_ATTEMPTS, provider, str(outcome)).inc()
        metrics.child(metrics.PROVIDER_ATTEMPT_DURATION, provider).observe(duration_s)

    def retried(self, provider: str) -> None:
        """A provider is called again for the same request."""
        metrics.child(metrics.RETRIES, provider).inc()

    def fell_back(self, provider: str) -> None:
        """A request goes on to this provider."""
        metrics.child(metrics.FALLBACKS, provider).inc()

    def tokens_used(self, usage: CountedTokens) -> None:
        """An answer cost this."""
        metrics.child(metrics.TOKENS_USED, "prompt").inc(usage.prompt_tokens)
        metrics.child(metrics.TOKENS_USED, "completion").inc(usage.completion_tokens)
        metrics.TOKENS_PER_REQUEST.observe(usage.prompt_tokens + usage.completion_tokens)


# Somebody has to look at these; Stripe will not tell again.
ALERTING: Final = frozenset({"dead", "wrong_livemode", "foreign_account"})


class BillingMetrics:
    """Watches Stripe's deliveries."""

    def rejected(self, reason: str) -> None:
        """A delivery was not believed: of it only the reason is told."""
        metrics.child(metrics.WEBHOOK_REJECTIONS, reason).inc()
        log.event("webhook_rejected", level="warning", reason=reason)

    def handled(self, kind: str, outcome: str) -> None:
        """A believed delivery ended so."""
        metrics.child(metrics.WEBHOOK_EVENTS, kind, outcome).inc()
        level = "error" if outcome in ALERTING else "info"
        log.event("webhook_handled", level=level, type=kind, outcome=outcome)
