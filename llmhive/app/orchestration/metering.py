"""Counts what happens to chat requests: the ChatObserver of production.

Label values come from configuration and closed sets. Imports telemetry and models only.
"""

from __future__ import annotations

from llmhive.app.orchestration.model import Usage
from llmhive.app.orchestration.reports import CANCELLED, SUCCEEDED
from llmhive.app.orchestration.retries import AttemptEnd
from llmhive.app.telemetry import log
from llmhive.app.telemetry.metrics import (
    FALLBACKS,
    PROVIDER_ATTEMPT_DURATION,
    PROVIDER_ATTEMPTS,
    RETRIES,
    TOKENS_PER_REQUEST,
    TOKENS_USED,
    child,
)

# Somebody has to do something about these; the rest passes.
NEEDS_A_PERSON = frozenset({AttemptEnd.QUOTA_EXHAUSTED, AttemptEnd.CREDENTIAL_REFUSED})


class ChatMeter:
    """Metrics, and one log line per failed call of a provider."""

    def attempt_ended(self, provider: str, outcome: str, duration_s: float) -> None:
        """Count a call of a provider."""
        child(PROVIDER_ATTEMPTS, provider, outcome).inc()
        child(PROVIDER_ATTEMPT_DURATION, provider).observe(duration_s)
        if outcome not in {SUCCEEDED, CANCELLED}:
            level = "error" if outcome in NEEDS_A_PERSON else "warning"
            log.event(
                "provider_attempt_failed",
                level=level,
                provider=provider,
                outcome=outcome,
                duration_ms=round(duration_s * 1000, 3),
            )

    def retried(self, provider: str) -> None:
        """Count a second or later call for one request."""
        child(RETRIES, provider).inc()

    def fell_back(self, provider: str) -> None:
        """Count a request that came to this provider because another gave no answer."""
        child(FALLBACKS, provider).inc()

    def tokens_used(self, usage: Usage) -> None:
        """Count the tokens of an answer."""
        child(TOKENS_USED, "prompt").inc(usage.prompt_tokens)
        child(TOKENS_USED, "completion").inc(usage.completion_tokens)
        TOKENS_PER_REQUEST.observe(usage.total_tokens)
