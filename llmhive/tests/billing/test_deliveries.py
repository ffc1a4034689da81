"""Deliveries over a real database: done once, given back on failure, dead after enough of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from llmhive.app.accounts.issuing import KeyIssuing
from llmhive.app.accounts.model import key_hash
from llmhive.app.adapters import sql_entitlements
from llmhive.app.adapters.sql_accounts import SqlAccounts
from llmhive.app.adapters.sql_billing import SqlBilling
from llmhive.app.adapters.sql_database import Database, DatabaseError
from llmhive.app.billing.model import (
    DeliveryRejectedError,
    EventInProgressError,
    Outcome,
    StripeError,
)
from llmhive.app.billing.ports import Lease
from llmhive.app.billing.service import BillingService
from llmhive.tests.billing.stripe_says import (
    CONFIG,
    SECRET,
    FakeStripe,
    Heard,
    delivery,
    invoice,
    signed,
    subscription,
)
from llmhive.tests.fakes import FakeClock

CREATED = "customer.subscription.created"
DEADLINE_S = 20.0


class Billing:
    """One worker's billing over a database, with everything around it in hand."""

    def __init__(self, database: Database, clock: FakeClock, **config: Any) -> None:
        self.clock, self.stripe, self.heard = clock, FakeStripe(), Heard()
        self.store = SqlBilling(database)
        self.keys = KeyIssuing(SqlAccounts(database), clock=clock)
        self.service = BillingService(
            self.store,
            self.stripe,
            [SECRET],
            replace(CONFIG, **config),
            clock=clock,
            observer=self.heard,
        )

    async def deliver(self, body: bytes) -> Outcome:
        return await self.service.take(body, signed(body, self.clock.wall()))

    async def tier(self, user: str = "ann") -> str:
        return (await self.service.account(user)).tier(self.clock.wall())

    async def ledger(self, user: str = "ann") -> list[str]:
        rows = await self.service.ledger(user, at_most=100, skip=0)
        return [row.kind for row in rows]


@pytest.fixture
def billing(database: Database, clock: FakeClock) -> Billing:
    made = Billing(database, clock)
    made.keys.create("ann", stripe_customer="cus_1")
    return made


async def test_a_new_subscription_entitles_and_is_entered(billing: Billing) -> None:
    outcome = await billing.deliver(delivery(CREATED, subscription()))

    assert (outcome, await billing.tier(), await billing.ledger()) == (
        Outcome.APPLIED,
        "pro",
        [CREATED],
    )
    assert billing.stripe.asked == []
    assert billing.heard.outcomes == [(CREATED, "applied")]


async def test_a_duplicate_changes_nothing_and_is_acknowledged(billing: Billing) -> None:
    body = delivery(CREATED, subscription())

    outcomes = [await billing.deliver(body) for _ in range(3)]

    assert outcomes == [Outcome.APPLIED, Outcome.DUPLICATE, Outcome.DUPLICATE]
    assert await billing.ledger() == [CREATED]


async def test_many_at_once_are_one(billing: Billing) -> None:
    billing.stripe.put("active")
    body = delivery("invoice.paid", invoice())
    # Duplicates wait on the clock; the one that works does not need it.
    tasks = [asyncio.ensure_future(billing.deliver(body)) for _ in range(10)]

    async with asyncio.timeout(DEADLINE_S):
        while not all(task.done() for task in tasks):
            await billing.clock.pass_time(0.05)
            await asyncio.wait(tasks, timeout=0.01)
    outcomes = await asyncio.gather(*tasks)

    assert sorted(outcomes).count(Outcome.APPLIED) == 1
    assert set(outcomes) == {Outcome.APPLIED, Outcome.DUPLICATE}
    assert await billing.ledger() == ["invoice.paid"]


async def test_a_failed_fetch_gives_the_lease_back_and_the_event_is_applied_later(
    billing: Billing,
) -> None:
    body = delivery("invoice.paid", invoice())

    with pytest.raises(StripeError):
        await billing.deliver(body)
    billing.stripe.put("active")
    outcome = await billing.deliver(body)

    assert (outcome, await billing.tier()) == (Outcome.APPLIED, "pro")
    assert [one for _, one in billing.heard.outcomes] == ["failed", "applied"]


async def test_an_event_is_dead_after_its_attempts_and_stays_so(
    database: Database, clock: FakeClock
) -> None:
    billing = Billing(database, clock, attempts_max=2)
    body = delivery("invoice.paid", invoice())

    with pytest.raises(StripeError):
        await billing.deliver(body)
    outcomes = [await billing.deliver(body)]
    billing.stripe.put("active")
    outcomes.append(await billing.deliver(body))

    assert outcomes == [Outcome.DEAD, Outcome.DEAD]
    assert len(billing.stripe.asked) == 2


async def test_an_event_that_kills_its_workers_dies_of_its_attempts_too(
    database: Database, clock: FakeClock
) -> None:
    billing = Billing(database, clock, attempts_max=2)
    body = delivery(CREATED, subscription())
    event = (await _begun(billing, body)).event_id
    clock.advance(CONFIG.lease_s + 1)
    assert (await _begun(billing, body)).attempt == 2
    clock.advance(CONFIG.lease_s + 1)

    assert await billing.deliver(body) is Outcome.DEAD
    assert event.startswith("evt_")


async def _begun(billing: Billing, body: bytes) -> Lease:
    """Take the lease of an event and die with it."""
    from llmhive.app.billing.payloads import parse_event  # noqa: PLC0415  here only

    config = replace(CONFIG, attempts_max=2)
    beginning = await billing.store.begin(parse_event(body), body, config, now=billing.clock.wall())
    assert beginning.lease is not None
    return beginning.lease


async def test_a_duplicate_of_unfinished_work_waits_a_little_and_is_not_acknowledged(
    billing: Billing,
) -> None:
    body = delivery(CREATED, subscription())
    lease = await _begun(billing, body)
    waiting = asyncio.ensure_future(billing.deliver(body))

    async with asyncio.timeout(DEADLINE_S):
        while not waiting.done():
            await billing.clock.pass_time(0.5)
            await asyncio.wait([waiting], timeout=0.01)

    with pytest.raises(EventInProgressError) as refusal:
        await waiting
    assert (refusal.value.http_status, refusal.value.retry_after_s) == (503, 1)
    assert lease.attempt == 1


async def test_a_lease_from_before_the_clock_was_set_back_does_not_last(billing: Billing) -> None:
    body = delivery(CREATED, subscription())
    await _begun(billing, body)

    billing.clock.step_wall(-3600)

    assert await billing.deliver(body) is Outcome.APPLIED


async def test_who_lost_the_lease_applies_nothing(billing: Billing) -> None:
    billing.stripe.put("active")
    body = delivery("invoice.paid", invoice())

    async def another_worker() -> None:
        billing.stripe.before = None
        billing.clock.advance(CONFIG.lease_s + 1)
        assert await billing.deliver(body) is Outcome.APPLIED

    billing.stripe.before = another_worker
    with pytest.raises(EventInProgressError):
        await billing.deliver(body)

    assert await billing.ledger() == ["invoice.paid"]


async def test_a_subscription_that_moved_meanwhile_is_looked_at_again(billing: Billing) -> None:
    billing.stripe.put("active")
    newer = delivery(
        "customer.subscription.deleted", subscription("canceled"), created=1_790_000_500
    )

    async def overtakes() -> None:
        billing.stripe.before = None
        assert await billing.deliver(newer) is Outcome.APPLIED

    billing.stripe.before = overtakes
    outcome = await billing.deliver(delivery("invoice.paid", invoice()))

    account = await billing.service.account("ann")
    assert outcome is Outcome.APPLIED
    assert [one.status for one in account.subscriptions] == ["canceled"]


async def test_a_second_event_of_one_invoice_and_kind_adds_no_row(billing: Billing) -> None:
    billing.stripe.put("active")

    for _ in range(2):
        assert await billing.deliver(delivery("invoice.paid", invoice())) is Outcome.APPLIED

    assert await billing.ledger() == ["invoice.paid"]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (delivery("price.updated", {}), Outcome.IGNORED),
        (delivery(CREATED, subscription(), livemode=True), Outcome.WRONG_LIVEMODE),
        (delivery(CREATED, subscription(), account="acct_1"), Outcome.FOREIGN_ACCOUNT),
    ],
    ids=["unknown type", "wrong mode", "foreign account"],
)
async def test_what_has_no_effect_is_stored_once_and_acknowledged(
    body: bytes, outcome: Outcome, billing: Billing
) -> None:
    outcomes = [await billing.deliver(body) for _ in range(2)]

    assert outcomes == [outcome, Outcome.DUPLICATE]
    assert (await billing.tier(), await billing.ledger()) == ("free", [])


async def test_a_customer_who_is_tied_later_has_what_came_before(billing: Billing) -> None:
    of = {**subscription(number="sub_9"), "customer": "cus_9"}
    await billing.deliver(delivery(CREATED, of))

    made = billing.keys.create("bob", stripe_customer="cus_9")

    assert await billing.ledger("bob") == [CREATED]
    assert made.record.entitled_tier == "pro"


async def test_a_checkout_ties_its_user_and_never_takes_a_customer_away(billing: Billing) -> None:
    billing.keys.create("bob")
    billing.stripe.put("active", number="sub_2")
    told = {"customer": "cus_2", "subscription": "sub_2", "client_reference_id": "bob"}
    stolen = {"customer": "cus_1", "subscription": "sub_2", "client_reference_id": "bob"}

    await billing.deliver(delivery("checkout.session.completed", told))
    await billing.deliver(delivery("checkout.session.completed", stolen))

    assert await billing.tier("bob") == "pro"
    assert await billing.ledger("bob") == ["checkout.session.completed"]


async def test_when_grace_is_over_the_key_is_lowered(billing: Billing, database: Database) -> None:
    key = billing.keys.create("ann").key
    accounts = SqlAccounts(database)
    await billing.deliver(
        delivery(CREATED, subscription("past_due"), created=int(billing.clock.wall()))
    )
    before = await accounts.find(key_hash(key))

    billing.clock.advance(CONFIG.grace_s + 1)
    lowered = await billing.store.end_graces(billing.clock.wall())

    after = await accounts.find(key_hash(key))
    assert before is not None
    assert after is not None
    assert (before.entitled_tier, after.entitled_tier, lowered) == ("pro", "free", 1)
    assert await billing.store.end_graces(billing.clock.wall()) == 0


async def test_whoever_keeps_a_tier_by_another_subscription_crowds_out_nobody(
    billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_entitlements, "GRACE_BATCH", 1)
    billing.keys.create("bob", stripe_customer="cus_2")
    started = int(billing.clock.wall())
    kept = subscription("active", number="sub_2", customer="cus_2")
    behind = subscription("past_due", number="sub_3", customer="cus_2")
    for created, told in (
        (started, kept),
        (started, behind),
        (started + 1, subscription("past_due")),
    ):
        await billing.deliver(delivery(CREATED, told, created=created))

    billing.clock.advance(CONFIG.grace_s + 2)
    lowered = await billing.store.end_graces(billing.clock.wall())

    assert (lowered, await billing.tier("ann"), await billing.tier("bob")) == (1, "free", "pro")


async def test_graces_are_ended_again_and_again(billing: Billing, database: Database) -> None:
    key, accounts = billing.keys.create("ann").key, SqlAccounts(database)
    behind = subscription("past_due")
    await billing.deliver(delivery(CREATED, behind, created=int(billing.clock.wall())))
    task = asyncio.ensure_future(billing.service.end_graces_forever())

    async def is_lowered() -> bool:
        found = await accounts.find(key_hash(key))
        return found is not None and found.entitled_tier == "free"

    async with asyncio.timeout(DEADLINE_S):
        while not await is_lowered():
            await billing.clock.pass_time(CONFIG.grace_s / 4)
    task.cancel()

    assert await billing.tier() == "free"


async def test_a_forged_delivery_is_counted_by_its_reason_and_stored_nowhere(
    billing: Billing,
) -> None:
    body = delivery(CREATED, subscription())

    with pytest.raises(DeliveryRejectedError):
        await billing.service.take(body, b"t=1,v1=x")
    with pytest.raises(DeliveryRejectedError):
        await billing.service.take(b"{", signed(b"{", billing.clock.wall()))

    assert billing.heard.rejections == ["wrong_signature", "malformed_body"]
    assert billing.heard.outcomes == []
    assert await billing.deliver(body) is Outcome.APPLIED


async def test_without_the_database_nothing_is_acknowledged(
    billing: Billing, database: Database
) -> None:
    body = delivery(CREATED, subscription())
    database.run_now(lambda c: c.exec_driver_sql("ALTER TABLE billing_ledger RENAME TO away"))

    with pytest.raises(DatabaseError):
        await billing.deliver(body)
    database.run_now(lambda c: c.exec_driver_sql("ALTER TABLE away RENAME TO billing_ledger"))

    assert await billing.deliver(body) is Outcome.APPLIED
    assert await billing.ledger() == [CREATED]


async def test_a_cancelled_delivery_gives_its_lease_back(billing: Billing) -> None:
    asked = asyncio.Event()

    async def forever() -> None:
        asked.set()
        await asyncio.Event().wait()

    billing.stripe.before = forever
    body = delivery("invoice.paid", invoice())
    working = asyncio.ensure_future(billing.deliver(body))
    async with asyncio.timeout(DEADLINE_S):
        await asked.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    billing.stripe.before = None
    billing.stripe.put("active")

    assert await billing.deliver(body) is Outcome.APPLIED
