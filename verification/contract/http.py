"""Routes, headers and error codes of the service. Source: DESIGN 3.1; RFC 9457, RFC 9110."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path, and whether a caller needs a key for it."""

    method: str
    path: str
    needs_key: bool


HEALTH: Final = Route("GET", "/api/health", needs_key=False)
LIVE: Final = Route("GET", "/api/health/live", needs_key=False)
READY: Final = Route("GET", "/api/health/ready", needs_key=False)
# Open unless METRICS_TOKEN is set.
METRICS: Final = Route("GET", "/api/metrics", needs_key=False)
CHAT: Final = Route("POST", "/api/chat", needs_key=True)
# Signed instead: never behind keys or the users' limiter.
WEBHOOKS: Final = Route("POST", "/api/billing/webhooks", needs_key=False)
SUBSCRIPTION: Final = Route("GET", "/api/billing/subscription", needs_key=True)
LEDGER: Final = Route("GET", "/api/billing/ledger", needs_key=True)

# Operators': a key with scope `admin`. The breaker, the user and the lease are named in the path.
ADMIN_BREAKERS: Final = Route("GET", "/api/admin/breakers", needs_key=True)
ADMIN_BREAKER_ORDER: Final = Route("POST", "/api/admin/breakers/{name}", needs_key=True)
ADMIN_LIMITS: Final = Route("GET", "/api/admin/limits", needs_key=True)
ADMIN_LIMIT_SET: Final = Route("PUT", "/api/admin/limits/{user}", needs_key=True)
ADMIN_LIMIT_CLEAR: Final = Route("DELETE", "/api/admin/limits/{user}", needs_key=True)
ADMIN_USERS: Final = Route("GET", "/api/admin/users", needs_key=True)
ADMIN_USER_MAKE: Final = Route("POST", "/api/admin/users", needs_key=True)
ADMIN_USERS_DELETE: Final = Route("DELETE", "/api/admin/users", needs_key=True)
ADMIN_USER_DELETE: Final = Route("DELETE", "/api/admin/users/{user}", needs_key=True)
ADMIN_TAGS: Final = Route("GET", "/api/admin/tags", needs_key=True)
ADMIN_LEASE: Final = Route("GET", "/api/admin/run-lease", needs_key=True)
ADMIN_LEASE_TAKE: Final = Route("POST", "/api/admin/run-lease", needs_key=True)
ADMIN_LEASE_RENEW: Final = Route("PUT", "/api/admin/run-lease/{lease_id}", needs_key=True)
ADMIN_LEASE_RELEASE: Final = Route("DELETE", "/api/admin/run-lease/{lease_id}", needs_key=True)

ADMIN_ROUTES: Final = (
    ADMIN_BREAKERS,
    ADMIN_BREAKER_ORDER,
    ADMIN_LIMITS,
    ADMIN_LIMIT_SET,
    ADMIN_LIMIT_CLEAR,
    ADMIN_USERS,
    ADMIN_USER_MAKE,
    ADMIN_USERS_DELETE,
    ADMIN_USER_DELETE,
    ADMIN_TAGS,
    ADMIN_LEASE,
    ADMIN_LEASE_TAKE,
    ADMIN_LEASE_RENEW,
    ADMIN_LEASE_RELEASE,
)
ROUTES: Final = (
    *(HEALTH, LIVE, READY, METRICS, CHAT, WEBHOOKS, SUBSCRIPTION, LEDGER),
    *ADMIN_ROUTES,
)

PROBLEM_TYPE: Final = "application/problem+json"
PROBLEM_FIELDS: Final = frozenset({"type", "title", "status", "code", "detail", "request_id"})
CHAT_FIELDS: Final = frozenset(
    {"id", "reply", "provider", "model", "usage", "iterations", "partial", "request_id"}
)
USAGE_FIELDS: Final = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})
SUBSCRIPTION_FIELDS: Final = frozenset({"user", "tier", "status", "entitled", "subscriptions"})
# The ledger's body is an object with its rows under this name.
LEDGER_LIST: Final = "entries"
LEDGER_FIELDS: Final = frozenset({"event", "invoice", "kind", "amount", "currency", "created"})
# What an operator may order of a breaker.
BREAKER_ACTIONS: Final = ("force_open", "force_close", "reset")
# A tag marks what one run made: a word of at most 64 characters.
TAG_CHARACTERS_MAX: Final = 64
LEASE_TTL_S: Final = (5, 3600)
ADMIN_BODY_BYTES_MAX: Final = 16_384
# The event of an audit line, and what it says.
AUDIT_EVENT: Final = "admin_call"
AUDIT_FIELDS: Final = frozenset({"action", "method", "route", "key_id", "status"})

REQUEST_ID: Final = "X-Request-ID"
SERVED_BY: Final = "X-Served-By"
ALWAYS_SENT: Final = (REQUEST_ID, SERVED_BY)
LIMIT_HEADERS: Final = ("RateLimit", "RateLimit-Policy")  # IETF draft 11
# On answers that a worker decided alone, and on no other.
LIMIT_DEGRADED: Final = "X-RateLimit-Degraded"
NOT_STORED: Final = ("Cache-Control", "no-store")

# Code -> the status that it comes with.
ERROR_CODES: Final = {
    "malformed_json": 400,
    "malformed_request": 400,
    "invalid_request": 422,
    "request_too_large": 422,
    "body_late": 408,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "missing_api_key": 401,
    "invalid_api_key": 401,
    "expired_api_key": 401,
    "insufficient_scope": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "user_exists": 409,
    "customer_taken": 409,
    "lease_held": 409,
    "lease_lost": 409,
    "headers_too_large": 431,
    "rate_limited": 429,
    "tokens_limited": 429,
    "too_many_in_flight": 429,
    "limiter_busy": 503,
    "no_provider_available": 503,
    "wall_clock_exhausted": 504,
    "database_unavailable": 503,
    "webhook_signature_invalid": 400,
    "webhook_in_progress": 503,
    "stripe_unavailable": 503,
    "internal_error": 500,
    "draining": 503,
}
# These say when to come back.
WITH_RETRY_AFTER: Final = (429, 503)

CHAT_BODY_BYTES_MAX: Final = 1_000_000
WEBHOOK_BODY_BYTES_MAX: Final = 256_000
MESSAGE_CHARACTERS_MAX: Final = 120_000
