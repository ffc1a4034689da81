"""Users in the database as operators handle them. Imports the accounts' model only.

What is a user's is said by the schema (`info` of a column: OF_USER, OF_CUSTOMER), so that a
new table cannot be forgotten here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import ColumnElement, Select, Table, delete, func, select
from sqlalchemy.engine import Connection

from llmhive.app.accounts.administration import Deleted, Page, UserRecord
from llmhive.app.adapters.sql_database import Database
from llmhive.app.adapters.sql_schema import METADATA, OF_CUSTOMER, OF_USER, api_keys, users

_KEYS = (
    select(func.count())
    .select_from(api_keys)
    .where(api_keys.c.user_id == users.c.id)
    .scalar_subquery()
)


class SqlUsers:
    """A UserStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tagged(self, tag: str, at_most: int) -> Page:
        """Users of a tag, in the order of their ids."""
        of_tag = users.c.tag == tag
        some = select(users, _KEYS.label("keys")).where(of_tag).order_by(users.c.id).limit(at_most)

        def work(connection: Connection) -> Page:
            found = [
                UserRecord(
                    user_id=row.id,
                    tier=row.tier,
                    entitled_tier=row.entitled_tier,
                    stripe_customer=row.stripe_customer,
                    tag=row.tag,
                    keys=row.keys,
                )
                for row in connection.execute(some)
            ]
            return Page(found, _count(connection, of_tag))

        return await self._database.read(work)

    async def tags(self, prefix: str, at_most: int) -> Mapping[str, int]:
        """Tags that begin so, and how many users each has."""
        counted = (
            select(users.c.tag, func.count().label("users"))
            .where(users.c.tag.startswith(prefix, autoescape=True))
            .group_by(users.c.tag)
            .order_by(users.c.tag)
            .limit(at_most)
        )
        return await self._database.read(
            lambda c: {str(row.tag): int(row.users) for row in c.execute(counted)}
        )

    async def delete(self, user_id: str) -> Deleted:
        """Delete a user with every row that is theirs."""
        one = select(users.c.id, users.c.stripe_customer).where(users.c.id == user_id)
        return await self._database.run(lambda connection: _deleted(connection, one))

    async def delete_tagged(self, tag: str, at_most: int) -> Deleted:
        """Delete so many users of a tag with every row that is theirs."""
        of_tag = users.c.tag == tag
        some = select(users.c.id, users.c.stripe_customer).where(of_tag).order_by(users.c.id)

        def work(connection: Connection) -> Deleted:
            done = _deleted(connection, some.limit(at_most))
            return Deleted(done.users, done.rows, _count(connection, of_tag))

        return await self._database.run(work)


def _count(connection: Connection, condition: ColumnElement[bool]) -> int:
    counted = select(func.count()).select_from(users).where(condition)
    return int(connection.execute(counted).scalar_one())


def _deleted(connection: Connection, chosen: Select[tuple[str, str | None]]) -> Deleted:
    """Delete the chosen users, what refers to something before what it refers to."""
    found = connection.execute(chosen.with_for_update()).all()
    ids = [row.id for row in found]
    customers = [row.stripe_customer for row in found if row.stripe_customer is not None]
    rows: dict[str, int] = {}
    for table in reversed(METADATA.sorted_tables):
        for condition in _theirs(table, ids, customers):
            done = connection.execute(delete(table).where(condition)).rowcount
            rows[table.name] = rows.get(table.name, 0) + done
    rows[users.name] = connection.execute(delete(users).where(users.c.id.in_(ids))).rowcount
    return Deleted(ids, {name: count for name, count in rows.items() if count})


def _theirs(
    table: Table, ids: Sequence[str], customers: Sequence[str]
) -> Iterator[ColumnElement[bool]]:
    for column in table.columns:
        if column.info == OF_USER:
            yield column.in_(ids)
        elif column.info == OF_CUSTOMER and customers:
            yield column.in_(customers)
