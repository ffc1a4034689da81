"""The shared record goes away and comes back: each worker goes on alone, then both agree."""

from __future__ import annotations

import asyncio

import pytest

from llmhive.app.breakers.model import CircuitState, Forced
from llmhive.app.breakers.service import BreakerOpenError
from llmhive.tests.breakers.fleet import (
    CONFIG,
    NAME,
    OTHER,
    FaultyStore,
    HandClock,
    Worker,
)

CLOSED, HALF_OPEN, OPEN = CircuitState.CLOSED, CircuitState.HALF_OPEN, CircuitState.OPEN


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(clock: HandClock) -> FaultyStore:
    return FaultyStore(clock, CONFIG)


@pytest.fixture
async def pair(clock: HandClock, store: FaultyStore) -> tuple[Worker, Worker]:
    workers = Worker(clock, store), Worker(clock, store)
    for worker in workers:
        await worker.follow()
    return workers


Pair = tuple[Worker, Worker]


async def _half_open(pair: Pair, clock: HandClock) -> None:
    await pair[0].fail(5)
    clock.turn(30.0)
    for worker in pair:
        await worker.follow()


async def test_each_worker_opens_by_itself_while_the_store_is_away(
    pair: Pair, store: FaultyStore
) -> None:
    here, there = pair
    store.is_away = True
    await here.follow()
    await there.follow()

    await here.fail(5)

    assert (here.state(), there.state()) == (OPEN, CLOSED)


async def test_an_opening_made_alone_is_told_when_the_store_returns(
    pair: Pair, store: FaultyStore
) -> None:
    here, there = pair
    store.is_away = True
    await here.follow()
    await here.fail(5)
    store.is_away = False

    await here.follow()
    await there.follow()

    assert there.state() is OPEN


async def test_an_opening_whose_report_was_lost_is_told_in_the_next_round(
    pair: Pair, store: FaultyStore
) -> None:
    here, there = pair
    store.is_away = True
    await here.fail(5)
    store.is_away = False

    await here.follow()
    await there.follow()

    assert there.state() is OPEN


async def test_each_worker_has_three_probes_of_its_own_without_the_store(
    pair: Pair, clock: HandClock, store: FaultyStore
) -> None:
    await _half_open(pair, clock)
    store.is_away = True
    for worker in pair:
        await worker.follow()

    probes = await asyncio.gather(*(worker.permits(50) for worker in pair))

    assert [len(each) for each in probes] == [3, 3]


async def test_losing_the_store_while_asking_for_a_slot_still_probes(
    pair: Pair, clock: HandClock, store: FaultyStore
) -> None:
    here, _ = pair
    await _half_open(pair, clock)
    store.is_away = True

    probes = await here.permits(50)

    assert len(probes) == 3


async def test_other_workers_probes_are_forgotten_with_the_store(
    pair: Pair, clock: HandClock, store: FaultyStore
) -> None:
    here, there = pair
    await _half_open(pair, clock)
    await there.permits(2)
    await here.follow()
    store.is_away = True
    await here.follow()

    clock.turn(CONFIG.lease_s)
    await here.follow()

    assert (here.state(), len(await here.permits(9))) == (HALF_OPEN, 3)


async def test_a_relapse_seen_alone_is_told_when_the_store_returns(
    pair: Pair, clock: HandClock, store: FaultyStore
) -> None:
    here, there = pair
    await _half_open(pair, clock)
    store.is_away = True
    await here.follow()
    await here.fail(1)
    store.is_away = False

    await here.follow()
    await there.follow()

    assert (here.state(), there.state()) == (OPEN, OPEN)


async def test_a_slot_whose_grant_was_lost_on_the_way_is_given_back(
    pair: Pair, clock: HandClock, store: FaultyStore
) -> None:
    here, there = pair
    await _half_open(pair, clock)
    store.loses_grants = True
    await here.permits(1)
    store.loses_grants = False

    await here.follow()
    clock.turn(CONFIG.lease_s)
    await there.follow()

    assert there.state() is HALF_OPEN


async def test_a_reply_from_before_an_opening_does_not_undo_it(
    clock: HandClock, store: FaultyStore
) -> None:
    here = Worker(clock, store)
    await here.fail(5)
    await here.follow()
    clock.turn(30.0)
    await here.succeed(3)

    store.is_slow = True
    looking = asyncio.ensure_future(here.service.follow())
    await asyncio.wait([looking], timeout=0)
    await here.fail(5)
    store.is_slow = False
    await looking

    assert here.state() is OPEN


async def test_a_recovery_made_alone_is_told_when_the_store_returns(
    pair: Pair, clock: HandClock, store: FaultyStore
) -> None:
    here, there = pair
    await _half_open(pair, clock)
    store.is_away = True
    await here.follow()
    await here.succeed(3)
    store.is_away = False

    await here.follow()
    await there.follow()

    assert (here.state(), there.state()) == (CLOSED, CLOSED)


async def test_a_probe_that_ended_while_the_store_was_away_does_not_expire(
    pair: Pair, clock: HandClock, store: FaultyStore
) -> None:
    here, there = pair
    await _half_open(pair, clock)
    probe = await here.permit()
    store.is_away = True
    probe.succeed()
    await here.service.flush()
    store.is_away = False
    await here.follow()

    clock.turn(CONFIG.lease_s)
    await there.follow()

    assert there.state() is HALF_OPEN


async def test_an_emptied_store_is_rebuilt_from_what_workers_know(
    pair: Pair, clock: HandClock, store: FaultyStore
) -> None:
    here, there = pair
    await here.fail(5)
    await there.follow()
    clock.turn(10.0)
    store.records.clear()

    await there.follow()

    assert store.records[NAME].open_until - clock.now == pytest.approx(20.0, abs=1e-6)
    assert store.records[NAME].state is OPEN


async def test_an_emptied_store_does_not_hand_out_more_probes(
    pair: Pair, clock: HandClock, store: FaultyStore
) -> None:
    await _half_open(pair, clock)
    store.records.clear()

    probes = await asyncio.gather(*(worker.permits(50) for worker in pair))

    assert sum(len(each) for each in probes) == 3


async def test_a_forced_breaker_survives_an_emptied_store(
    pair: Pair, clock: HandClock, store: FaultyStore
) -> None:
    here, there = pair
    here.service.force(NAME, Forced.OPEN, "maintenance")
    await here.follow()
    store.records.clear()
    clock.turn(3600.0)

    await here.follow()
    await there.follow()

    assert there.state() is OPEN


async def test_a_new_worker_knows_before_its_first_attempt(
    pair: Pair, clock: HandClock, store: FaultyStore
) -> None:
    await pair[0].fail(5)

    newcomer = Worker(clock, store)
    await newcomer.follow()

    with pytest.raises(BreakerOpenError):
        await newcomer.permit()
    assert newcomer.state(OTHER) is CLOSED
