"""Deleting a user leaves no row of theirs, in whatever table a feature keeps them."""

from __future__ import annotations

from llmhive.app.adapters.sql_schema import METADATA, OF_CUSTOMER, OF_USER

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
