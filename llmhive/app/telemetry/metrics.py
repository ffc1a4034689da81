"""Every metric of the service, with label values from closed sets.

In a worker `PROMETHEUS_MULTIPROC_DIR` is set before this module is imported, and what any
worker answers is summed over all of them; alone (tests) there is one registry.
Names: checklist, "Metrics to Track"; the README of prometheus_client on multiprocess mode.
"""

from __future__ import annotations

import functools
import os
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
REGISTRY: Final = CollectorRegistry()

# From a millisecond, which limits and health need, to beyond the wall clock of 120 s; 30 is the
# bound of the checklist's alert, so that it can be judged without interpolation.
SECONDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300),
)
# From a word to the budget of a request, 100 000 tokens, and beyond it.
TOKENS: Final = (10, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000)

Metric = TypeVar("Metric", Counter, Gauge, Histogram)


def _counter(name: str, about: str, *labels: str) -> Counter:
    return Counter(name, about, labels, registry=REGISTRY)


def _gauge(name: str, about: str, *labels: str, over_workers: str = "livesum") -> Gauge:
    mode = {"livesum": "livesum", "livemax": "livemax", "livemin": "livemin"}[over_workers]
    return Gauge(name, about, labels, registry=REGISTRY, multiprocess_mode=mode)  # type: ignore[arg-type]  # a Literal


def _histogram(name: str, about: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(name, about, labels, registry=REGISTRY, buckets=buckets)


HTTP_REQUESTS = _counter(
    "llmhive_http_requests_total", "Requests that ended.", "route", "method", "status"
)
HTTP_DURATION = _histogram(
    "llmhive_http_request_duration_seconds",
    "From the first byte of a request to the last of its answer.",
    "route",
    buckets=SECONDS,
)
HTTP_IN_FLIGHT = _gauge("llmhive_http_requests_in_flight", "Requests that have not ended.")
ERRORS = _counter("llmhive_errors_total", "Requests that ended in an error.", "code")
CALLER_LEFT = _counter("llmhive_caller_left_total", "Callers that left before their answer ended.")
STREAM_ENDS = _counter("llmhive_stream_ends_total", "Streams that ended.", "outcome")

CIRCUIT_STATE = _gauge(
    "llmhive_circuit_state",
    "0 closed, 1 half open, 2 open: the worst that any worker sees.",
    "service",
    over_workers="livemax",
)
CIRCUIT_TRANSITIONS = _counter(
    "llmhive_circuit_transitions_total", "Transitions seen by a worker.", "service", "to"
)
CIRCUIT_CALLS = _counter(
    "llmhive_circuit_calls_total", "Calls through a breaker by their end.", "service", "outcome"
)

PROVIDER_ATTEMPTS = _counter(
    "llmhive_provider_attempts_total", "Calls of a provider by their end.", "provider", "outcome"
)
PROVIDER_ATTEMPT_DURATION = _histogram(
    "llmhive_provider_attempt_duration_seconds",
    "How long calls of a provider took, streams to their end.",
    "provider",
    buckets=SECONDS,
)
RETRIES = _counter("llmhive_retries_total", "Attempts after the first one.", "provider")
FALLBACKS = _counter("llmhive_fallbacks_total", "Requests passed on to this one.", "provider")

RATELIMIT_DECISIONS = _counter(
    "llmhive_ratelimit_decisions_total",
    "Admissions and refusals; local ones are made while Redis is away.",
    "decision",
    "source",
)
RATELIMIT_BLOCKS = _counter(
    "llmhive_ratelimit_blocks_total", "Refusals by the limit that was exhausted.", "limit"
)
TOKENS_USED = _counter("llmhive_tokens_total", "Tokens by kind.", "kind")
TOKENS_PER_REQUEST = _histogram(
    "llmhive_tokens_per_request", "Tokens of one request, both kinds.", buckets=TOKENS
)

REDIS_FAILURES = _counter("llmhive_redis_failures_total", "Commands that failed.", "kind")
REDIS_UP = _gauge("llmhive_redis_up", "1 while every worker reaches Redis.", over_workers="livemin")
WEBHOOK_EVENTS = _counter(
    "llmhive_webhook_events_total", "Verified events by what became of them.", "type", "outcome"
)
WEBHOOK_REJECTIONS = _counter(
    "llmhive_webhook_rejections_total", "Deliveries that were not believed.", "reason"
)
MEMORY = _gauge("llmhive_memory_bytes", "Resident memory of all workers.")
LOG_LINES_DROPPED = _counter(
    "llmhive_log_lines_dropped_total", "Log lines that found the queue full."
)


def begin_process() -> None:
    """Count for this process from here: its parent's counts were loaded with the modules.

    The first touch of any series gives every series a file of this process's own.
    """
    LOG_LINES_DROPPED.inc(0)


@functools.cache
def child(metric: Metric, *values: str) -> Metric:
    """The series of a metric with these label values, kept: `labels()` costs thrice as much."""
    return metric.labels(*values)


def exposition() -> bytes:
    """All series as Prometheus text, summed over the workers; reads files, so call it in a thread.

    Source: Prometheus exposition formats, text format 0.0.4.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]  # untyped there
    return generate_latest(registry)
