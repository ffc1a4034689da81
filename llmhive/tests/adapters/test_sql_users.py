"""Deleting a user leaves no row of theirs, in whatever table a feature keeps them."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import Boolean, Column, Float, Integer, Table, func, insert, select
from sqlalchemy.engine import Connection

from llmhive.app.adapters.sql_database import Database
from llmhive.app.adapters.sql_schema import METADATA, OF_CUSTOMER, OF_USER
from llmhive.app.adapters.sql_users import SqlUsers

# Tables of no user's rows: themselves, what operators say of breakers and runs, a probe.
OF_NOBODY = {"users", "breaker_orders", "run_leases", "write_checks"}


def test_every_table_says_whose_its_rows_are() -> None:
    """A table of a user's rows marks the column that says so: `info=OF_USER` or OF_CUSTOMER."""
    owned = {
        table.name
        for table in METADATA.sorted_tables
        if any(column.info in (OF_USER, OF_CUSTOMER) for column in table.columns)
    }

    assert set(METADATA.tables) - owned == OF_NOBODY


def value_of(column: Column[Any]) -> Any:
    """Something that the column takes, and that makes the row ada's."""
    if column.info == OF_USER or (column.table.name == "users" and column.name == "id"):
        return "ada"
    if column.info == OF_CUSTOMER or column.name == "stripe_customer":
        return "cus_ada"
    return 1 if isinstance(column.type, Boolean | Integer | Float) else "x"


async def test_a_row_in_every_table_goes_with_its_user(database: Database) -> None:
    theirs: list[Table] = [
        table for table in METADATA.sorted_tables if table.name not in OF_NOBODY - {"users"}
    ]
    rows = [{column.name: value_of(column) for column in table.columns} for table in theirs]
    for statement in [insert(table).values(row) for table, row in zip(theirs, rows, strict=True)]:
        await database.run(partial(Connection.execute, statement=statement))

    deleted = await SqlUsers(database).delete("ada")

    def left(table: Table) -> int:
        return database.read_now(
            lambda c: int(c.execute(select(func.count()).select_from(table)).scalar_one())
        )

    assert {table.name: left(table) for table in theirs} == {table.name: 0 for table in theirs}
    assert deleted.rows == {table.name: 1 for table in theirs}
