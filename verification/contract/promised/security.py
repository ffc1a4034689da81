"""What security promises: keys, secrets, tenants. Source: DESIGN section 3 and the checklist."""

from __future__ import annotations

from typing import Final

from verification.contract.promise import promise

_SECURITY = "DESIGN 3.8; checklist, Security Hardening"

KEY_ON_EVERY_ROUTE: Final = promise(
    _SECURITY,
    "security.key-on-every-route",
    "every route but the documented exceptions refuses a caller without a valid key",
    "security.auth.key-on-every-endpoint",
)
KEYS_EXPIRE: Final = promise(
    _SECURITY,
    "security.keys.expire",
    "an expired key is refused",
    "security.auth.expiry",
)
KEYS_REVOKED: Final = promise(
    _SECURITY,
    "security.keys.revoked",
    "a revoked key is refused on all workers within 5 s",
    "secrets.always.rotation-works",
)
KEYS_WITHOUT_DATABASE: Final = promise(
    _SECURITY,
    "security.keys.without-database",
    "without the database a known key works for 60 s at most, an unknown one gets 503",
)
NO_SESSIONS: Final = promise(
    _SECURITY,
    "security.no-sessions",
    "there are no cookies and no sessions",
    "security.auth.sessions-hardened",
)
NO_SECRET_LEAVES: Final = promise(
    _SECURITY,
    "security.no-secret-leaves",
    "no secret leaves the service: not in answers, logs, metrics, Redis or rows, in no coding",
    "secrets.never.logged",
    "secrets.never.in-errors",
    "security.data.no-secrets-in-errors",
)
NO_PERSON_IN_LOGS: Final = promise(
    _SECURITY,
    "security.no-person-in-logs",
    "no prompt, address or plain user id stands in logs or metrics",
    "security.data.no-pii-in-logs",
)
TENANTS_APART: Final = promise(
    _SECURITY,
    "security.tenants-apart",
    "no user's text reaches another user",
)
