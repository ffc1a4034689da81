"""Two workers and one shared record, in memory: what one learns, both know within a round."""

from __future__ import annotations

import asyncio

import pytest

from llmhive.app.breakers.model import CircuitState, Forced
from llmhive.tests.breakers.fleet import (
    CONFIG,
    NAME,
    PROVIDER,
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


async def test_an_opening_is_known_everywhere_after_one_round(pair: Pair) -> None:
    here, there = pair
    await here.fail(5)

    await there.follow()

    assert await there.permits(5) == []


async def test_a_closed_breaker_asks_nobody(pair: Pair, store: FaultyStore) -> None:
    here, _ = pair
    store.is_away = True

    asked = here.permit()

    with pytest.raises(StopIteration):
        asked.send(None)


async def test_the_wait_is_not_begun_again_by_those_who_hear_of_it(
    pair: Pair, clock: HandClock
) -> None:
    here, there = pair
    await here.fail(5)
    for _ in range(29):
        clock.turn(1.0)
        await there.follow()

    clock.turn(1.0)
    await there.follow()

    assert (here.state(), there.state()) == (HALF_OPEN, HALF_OPEN)


async def test_every_window_starts_empty_after_any_transition(pair: Pair, clock: HandClock) -> None:
    here, there = pair
    await there.fail(4)
    await here.fail(5)
    await there.follow()
    clock.turn(30.0)
    await here.succeed(3)
    await there.follow()

    await there.fail(4)

    assert there.state() is CLOSED


async def _half_open(pair: Pair, clock: HandClock) -> None:
    await pair[0].fail(5)
    clock.turn(30.0)
    for worker in pair:
        await worker.follow()


async def test_three_probes_are_in_flight_over_all_workers(pair: Pair, clock: HandClock) -> None:
    await _half_open(pair, clock)

    probes = await asyncio.gather(*(worker.permits(100) for worker in pair))

    assert sum(len(each) for each in probes) == 3


async def test_successes_of_all_workers_close_together(pair: Pair, clock: HandClock) -> None:
    here, there = pair
    await _half_open(pair, clock)

    await here.succeed(2)
    await there.succeed(1)
    await here.follow()

    assert (here.state(), there.state()) == (CLOSED, CLOSED)


async def test_a_failed_probe_there_opens_here(pair: Pair, clock: HandClock) -> None:
    here, there = pair
    await _half_open(pair, clock)

    await there.fail(1)
    await here.follow()

    assert here.service.states()[NAME].wait_s == pytest.approx(60.0, abs=1e-6)


async def test_a_dead_workers_probe_is_a_failure_when_its_lease_is_over(
    pair: Pair, clock: HandClock
) -> None:
    here, there = pair
    await _half_open(pair, clock)
    await there.permit()

    clock.turn(CONFIG.lease_s)
    await here.follow()

    assert here.state() is OPEN


async def test_a_caller_cancelled_while_asking_for_a_slot_gives_it_back(
    pair: Pair, clock: HandClock, store: FaultyStore
) -> None:
    here, _ = pair
    await _half_open(pair, clock)

    asking = [asyncio.ensure_future(here.permit()) for _ in range(3)]
    await asyncio.wait(asking, timeout=0)
    for each in asking:
        each.cancel()
    await asyncio.wait(asking)
    await here.service.flush()

    assert dict(store.records[NAME].leases) == {}
    assert len(await here.permits(9)) == 3


async def test_a_cool_down_here_parks_there_until_it_is_over(pair: Pair, clock: HandClock) -> None:
    here, there = pair
    await here.fail(5)
    clock.turn(30.0)
    await here.succeed(3)
    await there.follow()
    (await here.permit()).cool_down(3.0)
    await here.service.flush()

    await there.follow()
    parked = await there.permits(3)
    clock.turn(3.0)

    assert (parked, len(await there.permits(3))) == ([], 3)


async def test_the_first_cool_down_of_an_untouched_breaker_is_shared_too(pair: Pair) -> None:
    here, there = pair
    (await here.permit()).cool_down(3.0)
    await here.follow()

    await there.follow()

    assert await there.permits(3) == []


async def test_two_workers_that_open_at_once_agree_on_one_opening(
    pair: Pair, store: FaultyStore
) -> None:
    here, there = pair

    await asyncio.gather(here.fail(5), there.fail(5))
    await here.follow()
    await there.follow()

    assert store.records[NAME].openings == 1
    assert (here.state(), there.state()) == (OPEN, OPEN)


async def test_child_and_parent_recover_together(pair: Pair, clock: HandClock) -> None:
    here, _ = pair
    await here.fail(5, connect=True)
    clock.turn(30.0)

    await here.succeed(3)

    assert (here.state(), here.state(PROVIDER)) == (CLOSED, CLOSED)


async def test_a_slot_of_the_parent_is_not_kept_for_a_child_without_one(
    pair: Pair, clock: HandClock, store: FaultyStore
) -> None:
    here, _ = pair
    await here.fail(5, connect=True)
    clock.turn(30.0)
    await here.permits(20)

    await here.service.flush()

    assert len(store.records[PROVIDER].leases) == 3


async def test_an_operators_word_reaches_all_workers(pair: Pair) -> None:
    here, there = pair
    here.service.force(NAME, Forced.OPEN, "maintenance")
    await here.service.flush()

    await there.follow()

    assert await there.permits(3) == []
    assert there.service.states()[NAME].forced is Forced.OPEN
