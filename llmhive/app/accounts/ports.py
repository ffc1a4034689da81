"""What accounts need from outside: a store of keys.

Imports the model only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from llmhive.app.accounts.model import KeyRecord


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be stored, and what is to be known of its user; None leaves it as it is."""

    key_id: str
    key_hash: str
    user_id: str
    tier: str | None
    stripe_customer: str | None
    scopes: frozenset[str]
    created_at: float
    expires_at: float | None = None
    tag: str | None = None
    is_first: bool = False
    """The user must not be there yet."""


class KeyStore(Protocol):
    """Where keys are looked up."""

    async def find(self, key_hash: str) -> KeyRecord | None:
        """Find a key by the hash of all of it, revoked and expired ones too.

        Raises: DependencyError when the database is away.
        """


class KeyBook(Protocol):
    """Where keys are written, one transaction per method."""

    def add(self, key: NewKey) -> KeyRecord:
        """Store a key, and its user if new.

        Raises: CallerError (definite) when the customer belongs to another user, or the
        user to another customer, or was to be new and is not; DependencyError.
        """

    def revoke(self, id_or_hash: str, at: float) -> KeyRecord | None:
        """Mark a key as revoked; the first time stands. None when there is no such key.

        Raises: DependencyError.
        """
