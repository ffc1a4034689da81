"""What the limits promise. Source: DESIGN section 3 and the checklist."""

from __future__ import annotations

from typing import Final

from verification.contract.promise import promise

_LIMITS = "DESIGN 3.2; checklist, Rate Limiting Keys"

ROLLING_WINDOW: Final = promise(
    _LIMITS,
    "limits.window.never-above",
    "at most L requests of a user in any rolling W seconds, over all workers",
    "security.auth.rate-limit-per-user",
)
LIMIT_OVER_WORKERS: Final = promise(
    _LIMITS,
    "limits.window.over-workers",
    "two and more workers together admit no more than one would",
    "security.auth.rate-limit-per-user",
    "limitations.limits-need-redis-for-many-workers",
    "env.redis.url",
)
NEVER_WRONGLY_REFUSED: Final = promise(
    _LIMITS,
    "limits.window.never-wrongly-refused",
    "no request is refused while fewer than L fit into every W + W/60 that ends within it",
    "security.auth.rate-limit-per-user",
)
WINDOWS_BY_REDIS_TIME: Final = promise(
    _LIMITS,
    "limits.window.redis-time",
    "windows are timed by Redis alone: a worker's wall clock decides nothing",
    "security.auth.rate-limit-per-user",
)
TIERS: Final = promise(
    _LIMITS,
    "limits.tiers",
    "each tier has its own limits of requests, tokens and requests in flight",
    "security.auth.rate-limit-per-user",
)
USERS_APART: Final = promise(
    _LIMITS,
    "limits.users-apart",
    "no user's requests count against another user",
    "security.auth.rate-limit-per-user",
)
NOT_KEYED_BY_CALLER: Final = promise(
    _LIMITS,
    "limits.not-keyed-by-caller",
    "nothing that a caller can choose makes two requests count as one",
    "security.auth.rate-limit-per-user",
)
TOKENS: Final = promise(
    _LIMITS,
    "limits.tokens",
    "tokens are reserved before the call and settled once after it, also when it is cancelled",
    "security.auth.rate-limit-per-user",
)
IN_FLIGHT: Final = promise(
    _LIMITS,
    "limits.in-flight",
    "a user has at most so many requests in flight, and a killed worker's slots come back",
    "security.auth.rate-limit-per-user",
)
RETRY_AFTER: Final = promise(
    _LIMITS,
    "limits.retry-after",
    "a lone caller that waits what Retry-After says is admitted",
    "security.auth.rate-limit-per-user",
)
LIMIT_FIELDS: Final = promise(
    _LIMITS,
    "limits.fields",
    "every limited answer carries RateLimit and RateLimit-Policy, and they are true",
    "security.auth.rate-limit-per-user",
)
WINDOW_KEYS: Final = promise(
    _LIMITS,
    "limits.redis.window-keys",
    "window keys have the documented name, are small hashes and end after two windows",
    "redis.keys.ratelimit",
    "env.redis.rate-limit-prefix",
)
KNOWN_KEYS_ONLY: Final = promise(
    _LIMITS,
    "limits.redis.known-keys-only",
    "every key in Redis is one of the documented ones, with its documented end",
    "redis.keys.ratelimit",
    "redis.keys.circuit",
)
REDIS_AWAY: Final = promise(
    _LIMITS,
    "limits.redis-away",
    "without Redis each worker keeps to its share, says so, and counts it",
    "predeploy.integration.fallbacks-verified",
)
BACK_TO_SHARED: Final = promise(
    _LIMITS,
    "limits.back-to-shared",
    "the shared limit is back within a second of Redis's return",
    "predeploy.integration.fallbacks-verified",
)
REDIS_EMPTIED: Final = promise(
    _LIMITS,
    "limits.redis-emptied",
    "a loss of Redis's memory adds at most one limit",
    "rollback.redis-state-cleared",
)
COUNTED_ONCE: Final = promise(
    _LIMITS,
    "limits.counted-once",
    "what was admitted while Redis was away, or its answer was lost, counts once when it is back",
    "predeploy.integration.fallbacks-verified",
)
SCRIPTS_LOST: Final = promise(
    _LIMITS,
    "limits.scripts-lost",
    "a Redis that has forgotten its scripts limits as before",
    "rollback.redis-state-cleared",
)
REDIS_HOLDS_UP_NOBODY: Final = promise(
    _LIMITS,
    "limits.redis-holds-up-nobody",
    "Redis holds up no request for more than 50 ms per reply, of which one is enough as a rule",
    "predeploy.integration.fallbacks-verified",
)
REDIS_POOL: Final = promise(
    _LIMITS,
    "limits.redis-pool",
    "connections to Redis are bounded, and running out of them is 503, never away",
    "env.redis.max-connections",
)
LIMIT_OVERRIDE: Final = promise(
    "DESIGN 3.2; checklist, Rate Limit Override",
    "limits.override",
    "an operator's override for a user holds on all workers within 5 s, until its end",
    "emergency.rate-limit-override",
)
WORKERS_NEED_REDIS: Final = promise(
    _LIMITS,
    "limits.workers-need-redis",
    "in production mode several workers without Redis refuse to start",
    "limitations.limits-need-redis-for-many-workers",
)
