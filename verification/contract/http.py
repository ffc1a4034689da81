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

ROUTES: Final = (HEALTH, LIVE, READY, METRICS, CHAT, WEBHOOKS, SUBSCRIPTION, LEDGER)

PROBLEM_TYPE: Final = "application/problem+json"
PROBLEM_FIELDS: Final = frozenset({"type", "title", "status", "code", "detail", "request_id"})
CHAT_FIELDS: Final = frozenset(
    {"id", "reply", "provider", "model", "usage", "iterations", "partial", "request_id"}
)
USAGE_FIELDS: Final = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})
SUBSCRIPTION_FIELDS: Final = frozenset({"user", "tier", "status", "entitled", "subscriptions"})
LEDGER_FIELDS: Final = frozenset({"event", "invoice", "kind", "amount", "currency", "created"})

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
    "invalid_request": 422,
    "request_too_large": 422,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "missing_api_key": 401,
    "invalid_api_key": 401,
    "expired_api_key": 401,
    "insufficient_scope": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "rate_limited": 429,
    "tokens_limited": 429,
    "too_many_in_flight": 429,
    "limiter_busy": 503,
    "no_provider_available": 503,
    "wall_clock_exhausted": 504,
    "database_unavailable": 503,
    "webhook_signature_invalid": 400,
    "webhook_in_progress": 503,
    "internal_error": 500,
    "draining": 503,
}
# These say when to come back.
WITH_RETRY_AFTER: Final = (429, 503)

CHAT_BODY_BYTES_MAX: Final = 1_000_000
WEBHOOK_BODY_BYTES_MAX: Final = 256_000
MESSAGE_CHARACTERS_MAX: Final = 120_000
