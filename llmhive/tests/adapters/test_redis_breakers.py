"""Two breaker services over one real Redis: what one opens, both hold shut."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator

import pytest

from llmhive.app.adapters.redis_circuits import RedisCircuitStore
from llmhive.app.adapters.redis_keys import circuit_key
from llmhive.app.adapters.redis_link import RedisLink
from llmhive.app.breakers.model import (
    BreakerConfig,
    CallOutcome,
    CircuitState,
    Forced,
)
from llmhive.app.breakers.service import BreakerOpenError, BreakerService, Permit
from llmhive.tests.adapters.hand_timed_redis import HandTimedLink
from llmhive.tests.adapters.redis_links import PATIENCE_S
from llmhive.tests.fakes import FakeClock, let_others_run
from llmhive.tests.redis_server import RedisServer

CLOSED, HALF_OPEN, OPEN = CircuitState.CLOSED, CircuitState.HALF_OPEN, CircuitState.OPEN
CONFIG = BreakerConfig()


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisLink]:
    link = RedisLink(redis_server.url, deadline_s=PATIENCE_S)
    yield link
    await link.close()


@pytest.fixture
def name() -> str:
    return f"openai:gpt-4o:{uuid.uuid4().hex}"


class Silent:
    """An observer that keeps nothing."""

    def state_seen(self, name: str, state: CircuitState) -> None: ...
    def transitioned(self, name: str, state: CircuitState, reason: str) -> None: ...
    def call_counted(self, name: str, outcome: CallOutcome) -> None: ...


@pytest.fixture
async def services(
    redis_server: RedisServer, clock: FakeClock, name: str
) -> AsyncIterator[list[BreakerService]]:
    """Two workers; their time and that of Redis' scripts is the test's."""
    links = [HandTimedLink(redis_server.url, clock) for _ in range(2)]
    services = [
        BreakerService(
            {name.partition(":")[2]: [name]}, CONFIG, clock=clock, observer=Silent(),
            store=RedisCircuitStore(link, clock, CONFIG),
        )
        for link in links
    ]  # fmt: skip
    for each in services:
        await each.follow()
    followers = [asyncio.ensure_future(each.follow_forever()) for each in services]
    yield services
    for follower in followers:
        follower.cancel()
    await asyncio.wait(followers)
    for service, link in zip(services, links, strict=True):
        await service.flush()
        await link.close()


Services = list[BreakerService]


async def _acquire(service: BreakerService, name: str) -> Permit | None:
    try:
        return await service.acquire(name.partition(":")[2], name)
    except BreakerOpenError:
        return None


async def _trip(service: BreakerService, name: str) -> None:
    for _ in range(5):
        permit = await _acquire(service, name)
        assert permit
        permit.fail("server_error")


async def _reaches(
    service: BreakerService, name: str, state: CircuitState, clock: FakeClock
) -> float:
    """Let time pass while both followers wait for it, until the service sees `state`.

    Gives how much passed, in seconds.
    """
    began, started = clock.monotonic(), time.monotonic()
    while service.states()[name].state is not state:
        assert time.monotonic() < started + PATIENCE_S, service.states()[name]
        if clock.sleepers == 2:
            clock.advance(0.05)
        await let_others_run()
    return clock.monotonic() - began


async def _awaits_probes(service: BreakerService, name: str, clock: FakeClock) -> None:
    """Wait until Redis, whose clock is read to the millisecond, is of the same opinion."""
    await _reaches(service, name, HALF_OPEN, clock)
    clock.advance(0.01)


async def test_an_opening_stops_the_other_worker_within_a_second(
    services: Services, name: str, clock: FakeClock
) -> None:
    here, there = services
    await _trip(here, name)
    await here.flush()

    assert await _reaches(there, name, OPEN, clock) < 1.0


async def test_a_record_edited_beyond_reading_is_replaced_and_both_workers_are_in_step(
    services: Services, name: str, clock: FakeClock, link: RedisLink
) -> None:
    here, there = services
    await _trip(here, name)
    await here.flush()
    await _reaches(there, name, OPEN, clock)
    edit = {"state": "CLOSED", "epoch": "by-hand", "since": "noon"}

    await link.command("HSET", circuit_key(name), *itertools.chain(*edit.items()))
    await _shared_again(link, name, clock)
    there.force(name, Forced.CLOSED, "ordered")
    await there.flush()

    assert await _reaches(here, name, CLOSED, clock) < 1.0


async def _shared_again(link: RedisLink, name: str, clock: FakeClock) -> None:
    """Let rounds pass until the record in Redis is one that workers wrote."""
    started = time.monotonic()
    while await link.command("HGET", circuit_key(name), "state") != b"open":
        assert time.monotonic() < started + PATIENCE_S, "the record stays unreadable"
        clock.advance(0.05)
        await let_others_run()


async def test_three_probes_are_in_flight_over_both_workers(
    services: Services, name: str, clock: FakeClock
) -> None:
    await _trip(services[0], name)
    for service in services:
        await _awaits_probes(service, name, clock)

    asked = [_acquire(service, name) for service in services for _ in range(100)]
    probes = [permit for permit in await asyncio.gather(*asked) if permit]

    assert len(probes) == 3


async def test_successes_close_the_breaker_of_both_workers(
    services: Services, name: str, clock: FakeClock
) -> None:
    here, there = services
    await _trip(here, name)
    await _awaits_probes(there, name, clock)

    for _ in range(3):
        permit = await _acquire(there, name)
        assert permit
        permit.succeed()

    await _reaches(there, name, CLOSED, clock)
    await _reaches(here, name, CLOSED, clock)


async def test_an_abandoned_probe_reopens_and_the_next_round_may_close(
    services: Services, name: str, clock: FakeClock
) -> None:
    here, there = services
    await _trip(here, name)
    await _awaits_probes(here, name, clock)
    assert await _acquire(here, name)

    await _reaches(there, name, OPEN, clock)
    await _awaits_probes(there, name, clock)

    assert await _acquire(there, name)


async def test_a_flushed_record_is_written_again_with_its_epoch(
    services: Services, name: str, link: RedisLink, clock: FakeClock
) -> None:
    here, _ = services
    here.force(name, Forced.OPEN, "maintenance")
    await here.flush()
    key = f"llmhive:circuit:{name}"
    epoch = await link.command("HGET", key, "epoch")

    await link.command("DEL", key)
    while await link.command("HGET", key, "epoch") is None:
        clock.advance(0.05)

    assert await link.command("HGET", key, "epoch") == epoch
