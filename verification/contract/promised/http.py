"""What HTTP promises, the printed commands first. Source: DESIGN section 3 and the checklist."""

from __future__ import annotations

from typing import Final

from verification.contract.promise import promise

_AFTER = "checklist, Post-Deployment Verification"

PRINTED_HEALTH: Final = promise(
    _AFTER, "http.printed.health", "the health command works as printed", "postdeploy.health"
)
PRINTED_METRICS: Final = promise(
    _AFTER, "http.printed.metrics", "the metrics command works as printed", "postdeploy.metrics"
)
PRINTED_CHAT: Final = promise(
    _AFTER, "http.printed.chat", "the chat command works as printed", "postdeploy.chat"
)

_HTTP = "DESIGN 3.1"

HEALTH_COMPONENTS: Final = promise(
    _HTTP,
    "http.health.components",
    "health names each component with its state and the age of the last real check",
    "postdeploy.health",
    "triage.breaker-states",
    "triage.redis-connectivity",
    "triage.provider-status",
    "predeploy.infra.redis-healthy",
)
HEALTH_NEVER_WAITS: Final = promise(
    _HTTP,
    "http.health.never-waits",
    "health answers from what is known and never waits for a dependency",
    "postdeploy.health",
    "triage.redis-connectivity",
)
HEALTH_TELLS_NO_SECRET: Final = promise(
    _HTTP,
    "http.health.no-secret",
    "health shows no secret and no address with credentials",
    "security.data.no-secrets-in-errors",
)
READINESS: Final = promise(
    _HTTP,
    "http.ready",
    "ready needs settings, a migrated and writable database and a provider, and nothing else",
    "postdeploy.health",
)
CHAT_ANSWER: Final = promise(
    _HTTP,
    "http.chat.answer",
    "a chat answer has its reply, provider, model, usage and request id",
    "postdeploy.chat",
)
STREAM_ENDS_ONCE: Final = promise(
    _HTTP,
    "http.chat.stream-ends-once",
    "a stream is token events and then exactly one done or error",
    "postdeploy.chat",
)
PROBLEM_ERRORS: Final = promise(
    _HTTP,
    "http.errors.problems",
    "every error is a problem document with a stable code and no internals",
    "secrets.never.in-errors",
    "security.data.no-secrets-in-errors",
)
REQUEST_ID: Final = promise(
    _HTTP,
    "http.request-id",
    "every answer carries a request id of the service's own making",
    "logs.request-id",
    "triage.logs-by-request-id",
)
SERVED_BY: Final = promise(
    _HTTP,
    "http.served-by",
    "every answer says which worker gave it",
)
INPUT_IS_CHECKED: Final = promise(
    _HTTP,
    "http.input",
    "input that is malformed, too large or unknown is refused with the right 4xx",
    "security.input.sanitised",
)
SLOW_CALLERS: Final = promise(
    "RFC 9110 15.5.9; class: slow POST, slow read (CWE-400)",
    "http.slow-callers",
    "a body that does not come within its bound is 408, an answer that nobody reads is cut off, "
    "and a stop waits for neither any longer",
    "security.input.sanitised",
)
SECURITY_HEADERS: Final = promise(
    _HTTP,
    "http.headers",
    "every answer carries the security headers, and answers of the API are not stored",
    "security.auth.sessions-hardened",
)
CORS: Final = promise(
    _HTTP,
    "http.cors",
    "only listed origins are allowed, on errors and streams too",
    "security.data.cors",
)
