"""Users and keys in the database. Imports ports and models of accounts and billing only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, insert, or_, select, update
from sqlalchemy.engine import Connection

from llmhive.app.accounts.model import LEAST_TIER, KeyRecord
from llmhive.app.accounts.ports import NewKey
from llmhive.app.adapters.sql_database import Database
from llmhive.app.adapters.sql_entitlements import refresh_tier
from llmhive.app.adapters.sql_schema import api_keys, users
from llmhive.app.errors import CallerError

_FOUND = select(
    api_keys.c.id,
    api_keys.c.user_id,
    users.c.tier,
    users.c.entitled_tier,
    api_keys.c.scopes,
    users.c.stripe_customer,
    api_keys.c.expires_at,
    api_keys.c.revoked_at,
).join(users, users.c.id == api_keys.c.user_id)


class SqlAccounts:
    """A KeyStore and a KeyBook on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, key_hash: str) -> KeyRecord | None:
        """Find a key by its hash."""
        return await self._database.read(_finder(api_keys.c.key_hash == key_hash))

    def add(self, key: NewKey) -> KeyRecord:
        """Store a key, and its user if new."""

        def work(connection: Connection) -> KeyRecord:
            _keep_user(connection, key)
            if key.stripe_customer is not None:  # whose events may have come before
                refresh_tier(connection, key.stripe_customer, key.created_at)
            values = {
                "id": key.key_id,
                "key_hash": key.key_hash,
                "user_id": key.user_id,
                "scopes": " ".join(sorted(key.scopes)),
                "created_at": key.created_at,
                "expires_at": key.expires_at,
            }
            connection.execute(insert(api_keys).values(values))
            return _told(connection.execute(_FOUND.where(api_keys.c.id == key.key_id)).one())

        return self._database.run_now(work)

    def revoke(self, id_or_hash: str, at: float) -> KeyRecord | None:
        """Mark a key as revoked; the first time stands."""
        named = or_(api_keys.c.id == id_or_hash, api_keys.c.key_hash == id_or_hash)

        def work(connection: Connection) -> KeyRecord | None:
            live = api_keys.c.revoked_at.is_(None)
            connection.execute(update(api_keys).where(named, live).values(revoked_at=at))
            return _finder(named)(connection)

        return self._database.run_now(work)


def _finder(condition: ColumnElement[bool]) -> Callable[[Connection], KeyRecord | None]:
    def work(connection: Connection) -> KeyRecord | None:
        row = connection.execute(_FOUND.where(condition)).one_or_none()
        return _told(row) if row is not None else None

    return work


def _told(row: Any) -> KeyRecord:
    return KeyRecord(
        key_id=row.id,
        user_id=row.user_id,
        granted_tier=row.tier,
        entitled_tier=row.entitled_tier,
        scopes=frozenset(row.scopes.split()),
        stripe_customer=row.stripe_customer,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def _keep_user(connection: Connection, key: NewKey) -> None:
    """Make the user, or bring what was said of them up to date."""
    known = connection.execute(select(users).where(users.c.id == key.user_id)).one_or_none()
    if known is not None and key.is_first:
        raise CallerError("There is such a user already.", code="user_exists", http_status=409)
    _refuse_foreign_customer(connection, key, known.stripe_customer if known else None)
    if known is None:
        values = {
            "id": key.user_id,
            "tier": key.tier or LEAST_TIER,
            "stripe_customer": key.stripe_customer,
            "tag": key.tag,
            "created_at": key.created_at,
        }
        connection.execute(insert(users).values(values))
        return
    told = {"tier": key.tier, "stripe_customer": key.stripe_customer}
    changes = {name: value for name, value in told.items() if value is not None}
    if changes:
        connection.execute(update(users).where(users.c.id == key.user_id).values(changes))


def _refuse_foreign_customer(connection: Connection, key: NewKey, known: str | None) -> None:
    if key.stripe_customer is None or key.stripe_customer == known:
        return
    if known is not None:
        raise _taken("This user already belongs to another customer.")
    owner = select(users.c.id).where(users.c.stripe_customer == key.stripe_customer)
    if connection.execute(owner).one_or_none() is not None:
        raise _taken("This customer already belongs to another user.")


def _taken(detail: str) -> CallerError:
    return CallerError(detail, code="customer_taken", http_status=409)
