"""The lease of a verification in the database: one row. Imports the accounts' model only."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection

from llmhive.app.accounts.run_lease import NAME, RunLease
from llmhive.app.adapters.sql_database import Database
from llmhive.app.adapters.sql_schema import run_leases

_OURS = run_leases.c.name == NAME
# A row lock where there are any; SQLite's transaction has locked the whole file already.
_LOCKED = select(run_leases).where(_OURS).with_for_update()


class SqlRunLeases:
    """A LeaseStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def current(self) -> RunLease | None:
        """The lease that was taken last, expired or not."""
        found = select(run_leases).where(_OURS)
        return await self._database.read(lambda c: _told(c.execute(found).one_or_none()))

    async def take(self, wanted: RunLease) -> RunLease | None:
        """Keep `wanted` unless another stands; gives the one that was there."""

        def work(connection: Connection) -> RunLease | None:
            before = _told(connection.execute(_LOCKED).one_or_none())
            if before is None or before.expires_at <= wanted.acquired_at:
                connection.execute(delete(run_leases).where(_OURS))
                connection.execute(insert(run_leases).values(_values(wanted)))
            return before

        return await self._database.run_racing(work)

    async def renew(self, lease_id: str, at: float, expires_at: float) -> RunLease | None:
        """Prolong the lease of that id if it stands at `at`."""
        held = (_OURS, run_leases.c.lease_id == lease_id, run_leases.c.expires_at > at)

        def work(connection: Connection) -> RunLease | None:
            connection.execute(update(run_leases).where(*held).values(expires_at=expires_at))
            return _told(connection.execute(select(run_leases).where(*held)).one_or_none())

        return await self._database.run(work)

    async def release(self, lease_id: str) -> bool:
        """Give the lease of that id back."""
        named = delete(run_leases).where(_OURS, run_leases.c.lease_id == lease_id)
        return await self._database.run(lambda c: c.execute(named).rowcount > 0)


def _values(lease: RunLease) -> dict[str, Any]:
    return {
        "name": NAME,
        "lease_id": lease.lease_id,
        "holder": lease.holder,
        "run": lease.run,
        "acquired_at": lease.acquired_at,
        "expires_at": lease.expires_at,
    }


def _told(row: Any) -> RunLease | None:
    if row is None:
        return None
    return RunLease(row.lease_id, row.holder, row.run, row.acquired_at, row.expires_at)
