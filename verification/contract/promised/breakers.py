"""What breakers promise. Source: DESIGN section 3 and the checklist."""

from __future__ import annotations

from typing import Final

from verification.contract.promise import promise

_BREAKERS = "DESIGN 3.3; checklist, Circuit Breaker"

BREAKER_OPENS: Final = promise(
    _BREAKERS,
    "breakers.opens",
    "a breaker opens after 5 to 4N+1 counted failures over N workers",
    "predeploy.integration.breakers-tested",
)
BREAKER_COUNTS: Final = promise(
    _BREAKERS,
    "breakers.counts",
    "trouble of the provider counts; the caller's mistakes and a caller that leaves do not",
    "predeploy.integration.breakers-tested",
)
NO_ATTEMPT_WHILE_OPEN: Final = promise(
    _BREAKERS,
    "breakers.no-attempt-while-open",
    "no attempt starts later than 1 s after any worker reported open",
    "predeploy.integration.breakers-tested",
)
BREAKER_PROBES: Final = promise(
    _BREAKERS,
    "breakers.probes",
    "half-open lets at most 3 probes through at once, and none is lost for ever",
    "predeploy.integration.breakers-tested",
)
BREAKER_CLOSES: Final = promise(
    _BREAKERS,
    "breakers.closes",
    "3 successes of probes close a breaker, one failure opens it",
    "predeploy.integration.breakers-tested",
)
BREAKER_RESTS: Final = promise(
    _BREAKERS,
    "breakers.rests",
    "a rest doubles with each failure of its probes up to the longest, and begins anew once closed",
    "predeploy.integration.breakers-tested",
)
BREAKER_COOLS_DOWN: Final = promise(
    _BREAKERS,
    "breakers.cool-down",
    "429 with Retry-After rests that credential and counts as no failure",
    "predeploy.integration.breakers-tested",
)
BREAKER_KEYS: Final = promise(
    _BREAKERS,
    "breakers.redis.keys",
    "a breaker's shared state stands under its documented key",
    "redis.keys.circuit",
)
BREAKER_STATES_SHOWN: Final = promise(
    _BREAKERS,
    "breakers.states-shown",
    "health and metrics show each breaker as it is",
    "metrics.breaker-states",
    "triage.breaker-states",
)
BREAKERS_WITHOUT_REDIS: Final = promise(
    _BREAKERS,
    "breakers.without-redis",
    "without Redis each worker keeps its own breakers",
    "predeploy.integration.breakers-tested",
    "predeploy.integration.fallbacks-verified",
)
ALL_OPEN: Final = promise(
    "DESIGN 3.1, 3.3",
    "breakers.all-open",
    "with all providers open the answer is 503 with Retry-After, at once",
    "predeploy.integration.fallbacks-verified",
)
BREAKER_ORDERS: Final = promise(
    "DESIGN 3.3; checklist, Circuit Breaker Reset",
    "breakers.orders",
    "an operator's order to a breaker is followed by all workers within 5 s, above every timer",
    "emergency.breaker-reset",
)
