"""Users and keys in a real database, through the commands' side and the workers' side."""

from __future__ import annotations

import pytest

from llmhive.app.accounts.issuing import KeyIssuing
from llmhive.app.accounts.model import key_hash
from llmhive.app.adapters.sql_accounts import SqlAccounts
from llmhive.app.adapters.sql_database import Database
from llmhive.app.errors import CallerError
from llmhive.tests.fakes import FakeClock


@pytest.fixture
def store(database: Database) -> SqlAccounts:
    return SqlAccounts(database)


@pytest.fixture
def issuing(store: SqlAccounts, clock: FakeClock) -> KeyIssuing:
    return KeyIssuing(store, clock=clock)


async def test_a_new_key_is_found_by_its_hash_and_stored_by_nothing_else(
    store: SqlAccounts, issuing: KeyIssuing, database: Database
) -> None:
    made = issuing.create("ann", tier="pro", stripe_customer="cus_1")

    assert await store.find(key_hash(made.key)) == made.record
    rows = database.read_now(lambda c: c.exec_driver_sql("SELECT * FROM api_keys").all())
    assert made.key not in str(rows)


async def test_a_revoked_key_is_found_as_revoked_and_the_first_time_stands(
    store: SqlAccounts, issuing: KeyIssuing, clock: FakeClock
) -> None:
    made = issuing.create("ann")
    revoked_at = clock.wall()

    issuing.revoke(made.key)
    clock.advance(5)
    issuing.revoke(made.record.key_id)

    found = await store.find(key_hash(made.key))
    assert found is not None
    assert found.revoked_at == revoked_at


def test_a_second_key_of_a_user_leaves_the_tier_unless_told(issuing: KeyIssuing) -> None:
    issuing.create("ann", tier="pro", stripe_customer="cus_1")

    assert issuing.create("ann").record.granted_tier == "pro"
    assert issuing.create("ann", tier="basic").record.granted_tier == "basic"


def test_a_customer_belongs_to_one_user(issuing: KeyIssuing) -> None:
    issuing.create("ann", stripe_customer="cus_1")

    with pytest.raises(CallerError, match="another user"):
        issuing.create("bob", stripe_customer="cus_1")
    with pytest.raises(CallerError, match="another customer"):
        issuing.create("ann", stripe_customer="cus_2")


@pytest.mark.parametrize("user_id", ["a:b", "a*", "a\nb", "ünï", "x" * 255])
def test_any_text_is_a_users_id(issuing: KeyIssuing, user_id: str) -> None:
    assert issuing.create(user_id).record.user_id == user_id


@pytest.mark.parametrize("user_id", ["", "x" * 256, "a\0b", "a\ud800"])
def test_what_no_database_could_hold_is_refused(issuing: KeyIssuing, user_id: str) -> None:
    with pytest.raises(CallerError):
        issuing.create(user_id)


def test_revoking_what_was_never_made_is_told(issuing: KeyIssuing) -> None:
    with pytest.raises(CallerError, match="no such key"):
        issuing.revoke("key_unknown")
