"""What retries, deadlines and budgets promise. Source: DESIGN section 3 and the checklist."""

from __future__ import annotations

from typing import Final

from verification.contract.promise import promise

_RETRIES = "DESIGN 3.4; checklist, Stage 4 Specific"

ATTEMPTS_BOUNDED: Final = promise(
    _RETRIES,
    "retries.bounded",
    "one request makes at most 3 attempts at a provider, spaced by jittered waits",
    "predeploy.integration.fallbacks-verified",
)
RETRY_BUDGET: Final = promise(
    _RETRIES,
    "retries.budget",
    "retries are paid from a budget, so that a storm cannot multiply itself",
    "predeploy.integration.fallbacks-verified",
)
ONLY_WHAT_MAY_BE_RETRIED: Final = promise(
    _RETRIES,
    "retries.only-what-may",
    "nothing is retried after the first byte, after a time-out there, or on other 4xx",
    "predeploy.integration.fallbacks-verified",
)
RETRY_AFTER_HONOURED: Final = promise(
    _RETRIES,
    "retries.retry-after",
    "after 429 the next provider is tried; the wait it asked for is kept",
    "predeploy.integration.fallbacks-verified",
)
FALLBACK: Final = promise(
    _RETRIES,
    "retries.fallback",
    "when a provider fails the next one answers",
    "predeploy.integration.fallbacks-verified",
    "env.apis.openai",
    "env.apis.anthropic",
)
NEVER_HALF_AN_ANSWER: Final = promise(
    "DESIGN 3.4, 3.7",
    "retries.never-half",
    "no caller gets a cut answer as a whole one, or two answers as one",
    "predeploy.integration.fallbacks-verified",
)
LLM_TIMEOUT: Final = promise(
    _RETRIES,
    "deadlines.llm-timeout",
    "S4_LLM_TIMEOUT bounds each provider call as a total",
    "env.core.llm-timeout",
)
STREAM_IDLE: Final = promise(
    _RETRIES,
    "deadlines.stream-idle",
    "a stream that falls silent is ended after the idle time, with an error event",
)
WALL_CLOCK: Final = promise(
    _RETRIES,
    "deadlines.wall-clock",
    "S4_MAX_WALL_CLOCK bounds everything, waits and streams included",
    "env.core.max-wall-clock",
)
CALLER_LEAVES: Final = promise(
    _RETRIES,
    "deadlines.caller-leaves",
    "a caller that leaves ends the provider call within 1 s and gives everything back",
)
