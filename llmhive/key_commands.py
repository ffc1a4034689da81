"""What `llmhive keys` does, on the database alone: the service need not run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llmhive.app.accounts.issuing import KeyIssuing
from llmhive.app.adapters.sql_accounts import SqlAccounts
from llmhive.app.adapters.sql_database import Database
from llmhive.app.adapters.sql_migrations import is_migrated
from llmhive.app.clock import SystemClock
from llmhive.app.errors import CallerError
from llmhive.app.settings import Settings

# A command can wait for a lock longer than a request.
LOCK_WAIT_S = 10.0


@contextmanager
def issuing(settings: Settings) -> Iterator[KeyIssuing]:
    """The operator's side of keys, on a database that is up to date.

    Raises: CallerError when the database was not migrated; DatabaseError.
    """
    database = Database(settings.database_url, busy_timeout_s=LOCK_WAIT_S)
    try:
        if not database.read_now(is_migrated):
            raise CallerError("The database is not up to date: run `llmhive migrate` first.")
        yield KeyIssuing(SqlAccounts(database), clock=SystemClock())
    finally:
        database.close()


def create(
    settings: Settings,
    *,
    user: str,
    tier: str | None,
    stripe_customer: str | None,
    scopes: frozenset[str],
    expires_in_s: float | None,
) -> dict[str, Any]:
    """Make a key; gives it with its secret.

    Raises: CallerError for an unknown tier or a customer of somebody else; DatabaseError.
    """
    if tier is not None and tier not in settings.rate_limit_tiers:
        known = ", ".join(settings.rate_limit_tiers)
        raise CallerError(f"--tier: expected one of {known}, got {tier!r}")
    with issuing(settings) as keys:
        made = keys.create(
            user,
            tier=tier,
            stripe_customer=stripe_customer,
            scopes=scopes,
            expires_in_s=expires_in_s,
        )
    record = made.record
    return {
        "key": made.key,
        "key_id": record.key_id,
        "user": record.user_id,
        "tier": record.granted_tier,
        "stripe_customer": record.stripe_customer,
        "scopes": sorted(record.scopes),
        "expires_at": record.expires_at,
    }


def revoke(settings: Settings, key_or_id: str) -> dict[str, Any]:
    """Revoke a key by its id or by itself.

    Raises: CallerError when there is none; DatabaseError.
    """
    with issuing(settings) as keys:
        record = keys.revoke(key_or_id)
    return {"key_id": record.key_id, "user": record.user_id, "revoked_at": record.revoked_at}
