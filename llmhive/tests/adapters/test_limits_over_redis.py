"""The limiter of several workers over a real Redis that is hung, killed, restarted and emptied."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from llmhive.app.adapters.redis_link import CONNECT_S, RedisLink
from llmhive.app.adapters.redis_windows import RedisWindowStore
from llmhive.app.clock import SystemClock
from llmhive.app.limits.model import Admission, LimitConfig, Tier
from llmhive.app.limits.service import AT_ONCE, LimitService
from llmhive.tests.adapters.redis_links import (
    DEADLINE_S,
    PATIENCE_S,
    ended_within,
    opened,
    seconds_until,
    until,
)
from llmhive.tests.fakes import FakeClock
from llmhive.tests.redis_server import RedisServer

CLOCK = SystemClock()
CONFIG = LimitConfig({"free": Tier(requests=20, tokens=10_000, in_flight=20)}, workers=2)


class Fleet:
    """Two workers with a link each, over a Redis of their own."""

    def __init__(self, redis: RedisServer, pauses: FakeClock, deadline_s: float) -> None:
        self.redis, self.pauses = redis, pauses
        self.links = [RedisLink(redis.url, deadline_s=deadline_s, clock=pauses) for _ in range(2)]
        self.workers = [
            LimitService(
                CONFIG, clock=CLOCK, store=RedisWindowStore(link, CLOCK, CONFIG, prefix="test:")
            )
            for link in self.links
        ]
        self.user = uuid.uuid4().hex

    async def ask(self, times: int, worker: int = 0, tokens: int = 1) -> list[Admission]:
        """Ask so often at once, and settle what is admitted."""
        service = self.workers[worker]
        asked = [service.admit(self.user, "free", tokens=tokens) for _ in range(times)]
        admissions = await asyncio.gather(*asked)
        for admission in admissions:
            await service.settle(admission, tokens_used=None)
        return admissions

    async def admitted(self, times: int, worker: int = 0) -> int:
        """Ask so often, and count the admissions."""
        return sum(each.allowed for each in await self.ask(times, worker))

    async def ends(self) -> None:
        """Kill Redis, and wait until every link knows."""
        self.redis.kill()
        for link in self.links:
            await seconds_until(link, self.pauses, is_up=False)


@pytest.fixture(params=[PATIENCE_S], ids=["patient"])
async def fleet(
    request: pytest.FixtureRequest, own_redis: RedisServer, clock: FakeClock
) -> AsyncIterator[Fleet]:
    fleet = Fleet(own_redis, clock, request.param)
    for link in fleet.links:
        await opened(link)
    yield fleet
    for service, link in zip(fleet.workers, fleet.links, strict=True):
        await service.flush()
        await link.close()


async def test_a_storm_over_both_workers_is_admitted_to_the_limit(fleet: Fleet) -> None:
    counts = await asyncio.gather(*(fleet.admitted(100, worker) for worker in range(2)))

    assert sum(counts) == 20


async def test_an_outage_adds_the_shares_of_the_workers_at_most(fleet: Fleet) -> None:
    before = await fleet.admitted(12)
    await fleet.ends()
    during = [await fleet.admitted(50, worker) for worker in range(2)]

    assert (before, during) == (12, [0, 10])


@pytest.mark.parametrize("fleet", [DEADLINE_S], ids=["hasty"], indirect=True)
async def test_a_hung_redis_delays_no_decision_for_long(fleet: Fleet) -> None:
    with fleet.redis.frozen():
        (first,) = await ended_within(fleet.ask(1), 2 * DEADLINE_S)
        await until(fleet.links[0], is_up=False)
        later = [(await ended_within(fleet.ask(1), 0.0))[0] for _ in range(10)]

    assert {each.degraded for each in (first, *later)} == {True}


async def test_decisions_are_shared_again_within_a_second_of_the_return(
    fleet: Fleet, clock: FakeClock
) -> None:
    await fleet.ends()
    await asyncio.gather(*(fleet.ask(3, worker) for worker in range(2)))
    fleet.redis.start()

    took_s = [await seconds_until(link, clock, is_up=True) for link in fleet.links]
    (admission,) = await fleet.ask(1)

    assert sum(took_s) <= 1.0 - CONNECT_S
    assert not admission.degraded


async def test_what_both_admitted_alone_counts_for_both_afterwards(
    fleet: Fleet, clock: FakeClock
) -> None:
    await fleet.ends()
    alone = [await fleet.admitted(4, 0), await fleet.admitted(3, 1)]
    fleet.redis.start()
    for link in fleet.links:
        await seconds_until(link, clock, is_up=True)
    for service in fleet.workers:
        await service.flush()

    (admission,) = await fleet.ask(1)

    assert (alone, admission.remaining) == ([4, 3], 12)


async def test_an_emptied_redis_adds_one_limit_at_most(fleet: Fleet) -> None:
    before = await fleet.admitted(50)
    await fleet.links[0].command("FLUSHALL")

    assert (before, await fleet.admitted(50)) == (20, 20)


async def test_what_runs_is_in_flight_again_after_redis_was_emptied(fleet: Fleet) -> None:
    service = fleet.workers[0]
    running = [await service.admit(fleet.user, "free", tokens=1) for _ in range(3)]
    await fleet.links[0].command("FLUSHALL")
    await service.settle(running.pop(), tokens_used=1)

    await service.renew()

    leases = await fleet.links[0].command("ZRANGE", f"test:{fleet.user}:inflight", 0, -1)
    assert sorted(leases) == sorted(each.operation_id.encode() for each in running)


async def test_what_ends_while_leases_are_renewed_is_not_put_back(fleet: Fleet) -> None:
    """More users than are renewed at once, so that the last one's turn comes after the end."""
    service = fleet.workers[0]
    users = [f"{fleet.user}-{number}" for number in range(AT_ONCE + 1)]
    last = [await service.admit(user, "free", tokens=1) for user in users][-1]
    renewing = asyncio.ensure_future(service.renew())
    await asyncio.wait([renewing], timeout=0)
    await service.settle(last, tokens_used=1)

    await renewing
    await service.flush()

    counts = [await fleet.links[0].command("ZCARD", f"test:{user}:inflight") for user in users]
    assert counts == [1] * AT_ONCE + [0]


async def test_a_caller_who_leaves_gives_back_tokens_and_place(fleet: Fleet) -> None:
    service = fleet.workers[0]
    await fleet.ask(1, tokens=0)
    asked = [
        asyncio.ensure_future(service.admit(fleet.user, "free", tokens=1000)) for _ in range(8)
    ]
    await asyncio.wait(asked, timeout=0)
    for each in asked:
        each.cancel()
    await asyncio.wait(asked)

    # The link answers in order, so after this reply those of the cancelled have come.
    await fleet.links[0].command("PING")
    await service.flush()

    (admission,) = await fleet.ask(1, tokens=0)
    assert admission.tokens_remaining == 10_000
    assert await fleet.links[0].command("ZCARD", f"test:{fleet.user}:inflight") == 0
