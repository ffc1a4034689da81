"""Two breaker services over one real Redis: what one opens, both hold shut."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from llmhive.app.adapters.redis_circuits import RedisCircuitStore
from llmhive.app.adapters.redis_link import RedisLink
from llmhive.app.breakers.model import (
    BreakerConfig,
    CallOutcome,
    CircuitState,
    Forced,
)
from llmhive.app.breakers.service import BreakerOpenError, BreakerService, Permit
from llmhive.app.clock import SystemClock

CLOSED, HALF_OPEN, OPEN = CircuitState.CLOSED, CircuitState.HALF_OPEN, CircuitState.OPEN
CONFIG = BreakerConfig()
CLOCK = SystemClock()


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert any("Ready to accept" in line for line in server.stdout)
        yield f"redis://127.0.0.1:{port}/0"
        server.terminate()


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    link = RedisLink(redis_url)
    yield link
    await link.close()


@pytest.fixture
def name() -> str:
    return f"openai:gpt-4o:{uuid.uuid4().hex}"


# Waits that a follower's round (0.25 s) cannot miss.
QUICK = BreakerConfig(open_s=0.6, open_max_s=0.6, lease_s=0.4)


class Silent:
    """An observer that keeps nothing."""

    def state_seen(self, name: str, state: CircuitState) -> None: ...
    def transitioned(self, name: str, state: CircuitState, reason: str) -> None: ...
    def call_counted(self, name: str, outcome: CallOutcome) -> None: ...


@pytest.fixture
async def services(redis_url: str, name: str) -> AsyncIterator[list[BreakerService]]:
    links = [RedisLink(redis_url) for _ in range(2)]
    services = [
        BreakerService(
            {name.partition(":")[2]: [name]}, QUICK, clock=CLOCK, observer=Silent(),
            store=RedisCircuitStore(link, CLOCK, QUICK),
        )
        for link in links
    ]  # fmt: skip
    followers = [asyncio.ensure_future(each.follow_forever()) for each in services]
    for each in services:
        await each.follow()
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


async def _reaches(service: BreakerService, name: str, state: CircuitState) -> float:
    """Wait until the service sees `state`, and give how long that took, in seconds."""
    started = CLOCK.monotonic()
    while service.states()[name].state is not state:
        assert CLOCK.monotonic() < started + 5.0, service.states()[name]
        await CLOCK.sleep(0.005)
    return CLOCK.monotonic() - started


async def _awaits_probes(service: BreakerService, name: str) -> None:
    """Wait until Redis, whose clock is read to the millisecond, is of the same opinion."""
    await _reaches(service, name, HALF_OPEN)
    await CLOCK.sleep(0.01)


async def test_an_opening_stops_the_other_worker_within_a_second(
    services: Services, name: str
) -> None:
    here, there = services
    await _trip(here, name)

    took_s = await _reaches(there, name, OPEN)

    assert took_s < 1.0


async def test_three_probes_are_in_flight_over_both_workers(services: Services, name: str) -> None:
    await _trip(services[0], name)
    for service in services:
        await _awaits_probes(service, name)

    asked = [_acquire(service, name) for service in services for _ in range(100)]
    probes = [permit for permit in await asyncio.gather(*asked) if permit]

    assert len(probes) == 3


async def test_successes_close_the_breaker_of_both_workers(services: Services, name: str) -> None:
    here, there = services
    await _trip(here, name)
    await _awaits_probes(there, name)

    for _ in range(3):
        permit = await _acquire(there, name)
        assert permit
        permit.succeed()

    await _reaches(there, name, CLOSED)
    await _reaches(here, name, CLOSED)


async def test_an_abandoned_probe_reopens_and_the_next_round_may_close(
    services: Services, name: str
) -> None:
    here, there = services
    await _trip(here, name)
    await _awaits_probes(here, name)
    assert await _acquire(here, name)

    await _reaches(there, name, OPEN)
    await _awaits_probes(there, name)

    assert await _acquire(there, name)


async def test_a_flushed_record_is_written_again_with_its_epoch(
    services: Services, name: str, link: RedisLink
) -> None:
    here, _ = services
    here.force(name, Forced.OPEN, "maintenance")
    await here.flush()
    key = f"llmhive:circuit:{name}"
    epoch = await link.command("HGET", key, "epoch")

    await link.command("DEL", key)
    while await link.command("HGET", key, "epoch") is None:
        await CLOCK.sleep(0.005)

    assert await link.command("HGET", key, "epoch") == epoch
