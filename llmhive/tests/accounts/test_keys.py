"""Keys: who they stand for, how long they are believed, and what happens without the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from llmhive.app.accounts.model import (
    AccountConfig,
    KeyRecord,
    KeyRefusedError,
    bearer_of,
    effective_tier,
    key_hash,
)
from llmhive.app.accounts.service import AccountService
from llmhive.app.errors import CapacityError, DependencyError
from llmhive.tests.fakes import FakeClock, let_others_run

KEY = "lhk_" + "0" * 48
RECORD = KeyRecord("key_1", "ann", "free", "free", frozenset({"chat"}))


class FakeKeys:
    """A KeyStore that a test fills, slows down and takes away."""

    def __init__(self) -> None:
        self.records = {key_hash(KEY): RECORD}
        self.lookups = 0
        self.is_away = False
        self.gate: asyncio.Event | None = None

    async def find(self, key_hash: str) -> KeyRecord | None:
        self.lookups += 1
        found = self.records.get(key_hash)
        if self.gate is not None:
            await self.gate.wait()
        if self.is_away:
            raise DependencyError(code="database_unavailable")
        return found

    def change(self, change: Callable[[KeyRecord], KeyRecord]) -> None:
        self.records = {digest: change(record) for digest, record in self.records.items()}


@pytest.fixture
def keys() -> FakeKeys:
    return FakeKeys()


@pytest.fixture
def accounts(keys: FakeKeys, clock: FakeClock) -> AccountService:
    return AccountService(keys, AccountConfig(cache_s=2.0, stale_s=60.0), clock=clock)


async def code_of(accounts: AccountService, bearer: str | None = KEY) -> str:
    """The code with which a key is refused, or "ok"."""
    try:
        await accounts.authenticate(bearer)
    except (KeyRefusedError, CapacityError) as error:
        return error.code
    return "ok"


async def test_a_key_stands_for_its_user(accounts: AccountService) -> None:
    principal = await accounts.authenticate(f"Bearer {KEY}")

    assert (principal.user_id, principal.key_id) == ("ann", "key_1")


@pytest.mark.parametrize(
    ("bearer", "code"),
    [
        (None, "missing_api_key"),
        ("", "missing_api_key"),
        ("Bearer", "missing_api_key"),
        ("Bearer nonsense", "invalid_api_key"),
        (f"Basic {KEY}", "invalid_api_key"),
        (f"Bearer {KEY} {KEY}", "invalid_api_key"),
        (f"Bearer {KEY[:-1]}", "invalid_api_key"),
        (f"Bearer {KEY}{'0' * 600}", "invalid_api_key"),
        ("Bearer \ud800\xff", "invalid_api_key"),
    ],
)
async def test_anything_but_a_whole_key_is_refused(
    accounts: AccountService, bearer: str | None, code: str
) -> None:
    assert await code_of(accounts, bearer) == code


async def test_a_known_key_is_looked_up_once_in_a_while(
    accounts: AccountService, keys: FakeKeys
) -> None:
    for _ in range(50):
        await accounts.authenticate(KEY)

    assert keys.lookups == 1


async def test_many_at_once_share_one_lookup(accounts: AccountService, keys: FakeKeys) -> None:
    keys.gate = asyncio.Event()
    asking = [asyncio.create_task(accounts.authenticate(KEY)) for _ in range(20)]
    await let_others_run()

    keys.gate.set()
    await asyncio.gather(*asking)

    assert keys.lookups == 1


async def test_a_revoked_key_is_refused_after_the_cache_time(
    accounts: AccountService, keys: FakeKeys, clock: FakeClock
) -> None:
    await accounts.authenticate(KEY)
    keys.change(lambda record: replace(record, revoked_at=clock.wall()))

    clock.advance(2.01)

    assert await code_of(accounts) == "invalid_api_key"


async def test_a_lookup_that_a_revocation_overtook_is_not_believed_for_longer(
    accounts: AccountService, keys: FakeKeys, clock: FakeClock
) -> None:
    keys.gate = asyncio.Event()
    slow = asyncio.create_task(accounts.authenticate(KEY))
    await let_others_run()
    keys.change(lambda record: replace(record, revoked_at=clock.wall()))
    clock.advance(2.01)
    keys.gate.set()
    await slow

    assert await code_of(accounts) == "invalid_api_key"


async def test_a_key_is_looked_up_anew_before_its_time_is_over(
    accounts: AccountService, keys: FakeKeys, clock: FakeClock
) -> None:
    await accounts.authenticate(KEY)
    clock.advance(1.5)
    await accounts.authenticate(KEY)
    await let_others_run()
    clock.advance(1.5)
    keys.gate = asyncio.Event()  # nobody could wait for the database now

    assert await code_of(accounts) == "ok"


async def test_an_unknown_key_works_as_soon_as_it_was_made(
    accounts: AccountService, keys: FakeKeys
) -> None:
    records, keys.records = keys.records, {}
    before = await code_of(accounts)
    keys.records = records

    assert (before, await code_of(accounts)) == ("invalid_api_key", "ok")


async def test_a_key_that_expires_is_refused_at_once(
    accounts: AccountService, keys: FakeKeys, clock: FakeClock
) -> None:
    keys.change(lambda record: replace(record, expires_at=clock.wall() + 1.0))
    before = await code_of(accounts)

    clock.advance(1.0)

    assert (before, await code_of(accounts)) == ("ok", "expired_api_key")


async def test_without_the_database_a_known_key_works_for_a_minute(
    accounts: AccountService, keys: FakeKeys, clock: FakeClock
) -> None:
    await accounts.authenticate(KEY)
    keys.is_away = True
    clock.advance(59.9)
    within = await code_of(accounts)

    clock.advance(0.2)

    assert (within, await code_of(accounts)) == ("ok", "database_unavailable")


async def test_without_the_database_an_unknown_key_is_not_called_wrong(
    accounts: AccountService, keys: FakeKeys
) -> None:
    keys.is_away = True

    assert await code_of(accounts) == "database_unavailable"


async def test_what_is_kept_of_keys_is_bounded(keys: FakeKeys, clock: FakeClock) -> None:
    accounts = AccountService(keys, AccountConfig(cached_keys_max=10), clock=clock)
    keys.records = {key_hash(f"key-{number}"): RECORD for number in range(50)}

    for number in range(50):
        await accounts.authenticate(f"key-{number}")

    assert len(accounts._readings) == 10


async def test_a_flood_of_unknown_keys_is_refused_at_once_and_known_ones_are_looked_up(
    keys: FakeKeys, clock: FakeClock
) -> None:
    accounts = AccountService(keys, AccountConfig(lookups_max=10), clock=clock)
    await accounts.authenticate(KEY)
    clock.advance(2.01)
    keys.gate = asyncio.Event()
    flood = [asyncio.create_task(code_of(accounts, f"key-{each}")) for each in range(30)]
    known = asyncio.create_task(code_of(accounts))
    await let_others_run()

    at_once = [asking.result() for asking in flood if asking.done()]
    keys.gate.set()
    later = await asyncio.gather(*flood[:10])

    assert at_once == ["database_unavailable"] * 20
    assert (set(later), await known) == ({"invalid_api_key"}, "ok")
    assert keys.lookups == 1 + 10 + 1


async def test_a_lookup_counts_until_the_database_has_answered_although_nobody_waits(
    keys: FakeKeys, clock: FakeClock
) -> None:
    accounts = AccountService(keys, AccountConfig(lookup_s=0.0, lookups_max=10), clock=clock)
    keys.gate = asyncio.Event()
    for each in range(30):
        await code_of(accounts, f"key-{each}")
    under_way = keys.lookups

    keys.gate.set()
    await let_others_run()
    await code_of(accounts)

    assert (under_way, keys.lookups) == (10, 11)


@pytest.mark.parametrize(
    ("granted", "entitled", "effective"),
    [
        ("free", "pro", "pro"),
        ("enterprise", "pro", "enterprise"),
        ("unknown", "free", "free"),
        ("basic", "unknown", "basic"),
    ],
)
def test_the_better_tier_counts(granted: str, entitled: str, effective: str) -> None:
    assert effective_tier(granted, entitled, ("free", "basic", "pro", "enterprise")) == effective


def test_the_scheme_is_read_in_any_case() -> None:
    assert bearer_of("bEARER   token") == "token"
