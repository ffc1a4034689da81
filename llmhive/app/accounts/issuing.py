"""Making and revoking keys: what the operator's commands do.

A key is shown once, to whoever asked for it; only its hash is stored.
May not import adapters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llmhive.app.accounts.model import KeyRecord, Scope, key_hash, new_key, new_key_id
from llmhive.app.accounts.ports import KeyBook, NewKey
from llmhive.app.clock import Clock
from llmhive.app.errors import CallerError

USER_ID_LENGTH_MAX = 255


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key with its secret, and how its user stands now."""

    key: str = field(repr=False)
    record: KeyRecord


class KeyIssuing:
    """The operator's side of keys."""

    def __init__(self, book: KeyBook, *, clock: Clock) -> None:
        self._book = book
        self._clock = clock

    def create(
        self,
        user_id: str,
        *,
        tier: str | None = None,
        stripe_customer: str | None = None,
        scopes: frozenset[str] = frozenset({Scope.CHAT}),
        expires_in_s: float | None = None,
        tag: str | None = None,
        is_first: bool = False,
    ) -> IssuedKey:
        """Make a key for a user, who is made too if new; None leaves tier and customer alone.

        Takes: tag, what a new user is found and deleted by; is_first, to refuse a known user.
        Raises: CallerError (definite), DependencyError.
        """
        if not 0 < len(user_id) <= USER_ID_LENGTH_MAX or not _is_text(user_id):
            raise CallerError(f"A user's id has 1 to {USER_ID_LENGTH_MAX} characters.")
        now, key = self._clock.wall(), new_key()
        record = self._book.add(
            NewKey(
                key_id=new_key_id(),
                key_hash=key_hash(key),
                user_id=user_id,
                tier=tier,
                stripe_customer=stripe_customer,
                scopes=scopes,
                created_at=now,
                expires_at=None if expires_in_s is None else now + expires_in_s,
                tag=tag,
                is_first=is_first,
            )
        )
        return IssuedKey(key, record)

    def revoke(self, key_or_id: str) -> KeyRecord:
        """Revoke a key, named by its id or by itself; again is the same as once.

        Raises: CallerError (definite) when there is no such key; DependencyError.
        """
        now = self._clock.wall()
        record = self._book.revoke(key_or_id, now) or self._book.revoke(key_hash(key_or_id), now)
        if record is None:
            raise CallerError("There is no such key.", code="not_found", http_status=404)
        return record


def _is_text(user_id: str) -> bool:
    try:
        user_id.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in user_id
