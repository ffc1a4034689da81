"""Keys, who stands behind them, and which tier counts: values and arithmetic, no I/O, no clock.

Source: DESIGN.md, sections 3.1 and 3.8; RFC 6750 for Bearer.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from llmhive.app.errors import CallerError

# Our keys are told from anybody else's by their first letters, so that scanners find leaks.
KEY_PREFIX = "lhk_"
# 24 random bytes: nobody guesses 192 bits, so the stored hash needs neither salt nor work.
KEY_BYTES = 24
# Our keys have 52 characters; what is longer than any token has no business being hashed.
BEARER_LENGTH_MAX = 512
LEAST_TIER = "free"


class Scope(StrEnum):
    """What a key may be used for."""

    CHAT = "chat"
    ADMIN = "admin"


class KeyRefusedError(CallerError):
    """The key does not open this door; nothing happened."""

    code = "invalid_api_key"
    http_status = 401
    title = "A valid API key is needed."


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as the database knows it, with its user; times are wall-clock seconds."""

    key_id: str
    user_id: str
    granted_tier: str
    entitled_tier: str
    scopes: frozenset[str]
    stripe_customer: str | None = None
    expires_at: float | None = None
    revoked_at: float | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, as their key told."""

    user_id: str
    tier: str
    scopes: frozenset[str]
    key_id: str
    stripe_customer: str | None = None

    def require(self, scope: Scope) -> None:
        """Let a key of that scope pass; `admin` stands for everything.

        Raises: CallerError (403, definite).
        """
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            raise CallerError(
                f"This key lacks the scope {scope}.", code="insufficient_scope", http_status=403
            )


@dataclass(frozen=True, slots=True)
class AccountConfig:
    """The numbers of key lookups; the defaults are the documented ones."""

    cache_s: float = 2.0
    stale_s: float = 60.0
    # A database that has not answered by then is away, as far as a waiting caller cares.
    lookup_s: float = 2.0
    # Done in a fifth of a second (measured, SQLite): a known key in use has a second to wait.
    lookups_max: int = 500
    # About 5 MB, and more keys than one worker serves within a minute.
    cached_keys_max: int = 10_000
    tiers: Sequence[str] = ("free", "basic", "pro", "enterprise")


def bearer_of(authorization: str | None) -> str:
    """The token of an `Authorization: Bearer …` field, or of a bare token.

    Raises: KeyRefusedError `missing_api_key`, and `invalid_api_key` for another scheme.
    """
    words = (authorization or "").split()
    if not words or (len(words) == 1 and words[0].lower() == "bearer"):
        raise KeyRefusedError("There is no API key in this request.", code="missing_api_key")
    if len(words) == 1:
        return words[0]
    if len(words) != 2 or words[0].lower() != "bearer":  # noqa: PLR2004  scheme and token
        raise KeyRefusedError("Authorization has to be `Bearer` and a key.")
    return words[1]


def new_key() -> str:
    """A key that nobody can guess."""
    return KEY_PREFIX + secrets.token_hex(KEY_BYTES)


def new_key_id() -> str:
    """A name for a key that opens nothing."""
    return "key_" + secrets.token_hex(8)


def key_hash(key: str) -> str:
    """What is stored and cached of a key: all of its SHA-256, never a part."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def effective_tier(granted: str, entitled: str, tiers: Sequence[str]) -> str:
    """The better of two tiers by their order; a tier that is not configured counts as the least."""
    ranks: Mapping[str, int] = {tier: rank for rank, tier in enumerate(tiers)}
    return max(granted, entitled, LEAST_TIER, key=lambda tier: ranks.get(tier, -1))
