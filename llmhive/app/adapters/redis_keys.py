"""Every key that the service keeps in Redis, one function per key.

Ids are percent-encoded, so that one id's key is never another's: `a:b` differs from `a`.
Source: DESIGN.md, section 3.2; the checklist, "Redis keys".
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote, unquote

# Ids whose spelling is kept; as many users as one worker serves at a time.
CACHED_IDS = 4096
OVERRIDE_PREFIX = "llmhive:override:"


@lru_cache(maxsize=CACHED_IDS)
def encoded(identity: str) -> str:
    """The id with everything but letters, digits and `_.-~` percent-encoded."""
    return quote(identity, safe="")


def window_key(prefix: str, user_id: str, window_start_ms: int) -> str:
    """HASH of a user's buckets in one window; TTL two windows."""
    return f"{prefix}{encoded(user_id)}:{window_start_ms}"


def in_flight_key(prefix: str, user_id: str) -> str:
    """ZSET of a user's requests in flight, by the end of their lease; TTL two leases."""
    return f"{prefix}{encoded(user_id)}:inflight"


def override_key(user_id: str) -> str:
    """HASH of an operator's `requests_per_min` for a user; TTL as asked."""
    return f"{OVERRIDE_PREFIX}{encoded(user_id)}"


def overridden_user(key: str) -> str:
    """The user whose override the key holds."""
    return unquote(key.removeprefix(OVERRIDE_PREFIX))


def circuit_key(name: str) -> str:
    """HASH of the breaker `name`, which comes from configuration; no TTL."""
    return f"llmhive:circuit:{name}"


def probe_key() -> str:
    """Never exists: the link asks for a write that changes nothing, to see that Redis writes."""
    return "llmhive:circuit:"
