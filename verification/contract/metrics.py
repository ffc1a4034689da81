"""The documented metrics with their labels, closed label values where known.

Source: checklist, Metrics to Track; DESIGN 3.8.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name as scraped, its type, its labels, and the values of closed labels."""

    name: str
    kind: str
    labels: tuple[str, ...] = ()
    values: dict[str, frozenset[str]] = field(default_factory=dict)


def _counter(name: str, *labels: str, **values: str) -> Metric:
    return Metric(name, "counter", labels, _closed(values))


def _gauge(name: str, *labels: str) -> Metric:
    return Metric(name, "gauge", labels)


def _histogram(name: str, *labels: str) -> Metric:
    return Metric(name, "histogram", labels)


def _closed(values: dict[str, str]) -> dict[str, frozenset[str]]:
    return {label: frozenset(text.split()) for label, text in values.items()}


METRICS: Final = (
    _counter("llmhive_http_requests_total", "route", "method", "status"),
    _histogram("llmhive_http_request_duration_seconds", "route"),
    _gauge("llmhive_http_requests_in_flight"),
    _counter("llmhive_errors_total", "code"),
    _gauge("llmhive_circuit_state", "service"),
    _counter("llmhive_circuit_transitions_total", "service", "to", to="closed half_open open"),
    _counter(
        "llmhive_circuit_calls_total",
        "service",
        "outcome",
        outcome="success failure neutral rejected cool_down",
    ),
    _counter("llmhive_provider_attempts_total", "provider", "outcome"),
    _histogram("llmhive_provider_attempt_duration_seconds", "provider"),
    _counter("llmhive_retries_total", "provider"),
    _counter("llmhive_fallbacks_total", "provider"),
    _counter(
        "llmhive_ratelimit_decisions_total",
        "decision",
        "source",
        decision="allowed refused",
        source="shared local",
    ),
    _counter("llmhive_ratelimit_blocks_total", "limit", limit="requests tokens in_flight"),
    _counter("llmhive_tokens_total", "kind", kind="prompt completion"),
    _histogram("llmhive_tokens_per_request"),
    _counter("llmhive_redis_failures_total", "kind"),
    _gauge("llmhive_redis_up"),
    _counter("llmhive_webhook_events_total", "type", "outcome"),
    _counter("llmhive_webhook_rejections_total", "reason"),
    _gauge("llmhive_memory_bytes"),
    _counter("llmhive_log_lines_dropped_total"),
    _counter("llmhive_stream_ends_total", "outcome", outcome="done error caller_left"),
    _counter("llmhive_caller_left_total"),
)

BY_NAME: Final = {metric.name: metric for metric in METRICS}
"""Every documented metric by its name."""

CIRCUIT_STATES: Final = {"closed": 0, "half_open": 1, "open": 2}
"""Values of llmhive_circuit_state."""

# Buckets must reach beyond S4_MAX_WALL_CLOCK, or its P99 cannot be seen.
DURATION_BUCKETS_BEYOND_S: Final = 120.0
