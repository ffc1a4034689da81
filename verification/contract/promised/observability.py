"""What logs and metrics promise. Source: DESIGN 3.8 and the checklist."""

from __future__ import annotations

from typing import Final

from verification.contract.promise import promise

_SEEN = "DESIGN 3.8; checklist, Monitoring"

JSON_LOGS: Final = promise(
    _SEEN,
    "logs.json",
    "every log line is one JSON object, with the request's id where there is one",
    "logs.json",
    "logs.request-id",
    "triage.logs-by-request-id",
)
LOG_LEVEL: Final = promise(
    _SEEN,
    "logs.level",
    "LOG_LEVEL decides what is logged",
    "env.core.log-level",
    "predeploy.config.log-level",
)
LOGS_NEVER_BLOCK: Final = promise(
    _SEEN,
    "logs.never-block",
    "a full log pipe holds up no request, and what was dropped is counted",
)
METRICS_SUMMED: Final = promise(
    _SEEN,
    "metrics.summed",
    "metrics are summed over all workers and survive their death",
    "postdeploy.metrics",
)
METRICS_BOUNDED: Final = promise(
    _SEEN,
    "metrics.bounded",
    "names and labels are the documented ones, from closed sets",
    "postdeploy.metrics",
)
LATENCY_SHOWN: Final = promise(
    _SEEN,
    "metrics.latency",
    "latency is measured over the whole body, in buckets beyond the wall clock",
    "metrics.latency-percentiles",
)
ERRORS_SHOWN: Final = promise(
    _SEEN,
    "metrics.errors",
    "errors are counted by code, streams that ended in one included",
    "metrics.errors-by-type",
)
REFUSALS_SHOWN: Final = promise(
    _SEEN,
    "metrics.refusals",
    "refusals are counted by the limit that refused",
    "metrics.rate-limit-blocks",
)
TOKENS_SHOWN: Final = promise(
    _SEEN,
    "metrics.tokens",
    "tokens are counted as the provider reported them",
    "metrics.tokens-per-request",
)
MEMORY_SHOWN: Final = promise(
    _SEEN, "metrics.memory", "the memory of all workers is shown", "metrics.memory"
)
REDIS_FAILURES_SHOWN: Final = promise(
    _SEEN,
    "metrics.redis-failures",
    "failures of Redis are counted, and whether it is up is shown",
    "triage.redis-connectivity",
)
WEBHOOKS_SHOWN: Final = promise(
    _SEEN,
    "metrics.webhooks",
    "webhook events and rejections are counted by what became of them",
)
