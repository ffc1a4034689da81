"""What a worker's limiter promises: with a shared store, without it, and in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from llmhive.app.adapters.memory_windows import MemoryWindowStore
from llmhive.app.errors import CallerError
from llmhive.app.limits.model import (
    Admission,
    Decision,
    Demand,
    Limit,
    LimitConfig,
    Settlement,
    Tier,
)
from llmhive.app.limits.ports import WindowStoreError
from llmhive.app.limits.service import LimitService
from llmhive.tests.fakes import FakeClock, let_others_run

CONFIG = LimitConfig({"free": Tier(10, 1000, 4), "pro": Tier(100, 5000, 16)}, workers=2)


class Watcher:
    """An observer that remembers where decisions were made."""

    def __init__(self) -> None:
        self.decided_locally: list[bool] = []

    def decided(self, admission: Admission, *, is_local: bool) -> None:
        del admission
        self.decided_locally.append(is_local)


class FaultyStore(MemoryWindowStore):
    """A store that can lose its answers, or sit on a settlement."""

    loses_answers = False
    gate: asyncio.Event | None = None
    settlements = 0

    async def admit(self, demand: Demand, orphaned: Callable[[Decision], None]) -> Decision:
        decision = await super().admit(demand, orphaned)
        if self.loses_answers:
            raise WindowStoreError(definite=False)
        return decision

    async def settle(self, settlement: Settlement) -> None:
        if self.gate:
            await self.gate.wait()
        await super().settle(settlement)
        self.settlements += 1


class Fleet:
    """Two workers over one store, on one clock."""

    def __init__(self, config: LimitConfig = CONFIG) -> None:
        self.clock = FakeClock()
        self.store = FaultyStore(self.clock, config)
        self.watchers = [Watcher(), Watcher()]
        self.workers = [
            LimitService(config, clock=self.clock, store=self.store, observer=each)
            for each in self.watchers
        ]

    async def admit(self, worker: int = 0, *, tokens: int = 1) -> Admission:
        """Ask one worker for one request."""
        return await self.workers[worker].admit("user", "free", tokens=tokens)

    async def finish(self, times: int, worker: int = 0, *, tokens: int = 1) -> int:
        """Ask so often, settle what was admitted, and count that."""
        asked = [await self._finished(worker, tokens) for _ in range(times)]
        return sum(asked)

    async def _finished(self, worker: int, tokens: int) -> bool:
        admission = await self.admit(worker, tokens=tokens)
        await self.workers[worker].settle(admission, tokens_used=None)
        return admission.allowed

    async def come_back(self) -> None:
        """Let the store be reachable again, and everybody learn of it."""
        self.store.come_back()
        await let_others_run()


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


# -- with the shared store


async def test_both_workers_share_one_limit(fleet: Fleet) -> None:
    assert await fleet.finish(7, 0) + await fleet.finish(7, 1) == 10


async def test_users_do_not_share_a_limit(fleet: Fleet) -> None:
    await fleet.finish(10)

    assert (await fleet.workers[0].admit("another", "free", tokens=1)).allowed


async def test_an_unknown_tier_is_served_as_the_least(fleet: Fleet) -> None:
    assert (await fleet.workers[0].admit("user", "platinum", tokens=1)).limit == 10


async def test_a_request_larger_than_the_budget_is_refused_for_good(fleet: Fleet) -> None:
    with pytest.raises(CallerError) as caught:
        await fleet.admit(tokens=1001)

    assert (caught.value.http_status, caught.value.code) == (422, "request_too_large")


async def test_remaining_falls_by_one_to_none(fleet: Fleet) -> None:
    left = []
    for _ in range(11):
        admission = await fleet.admit()
        left.append(admission.remaining)
        await fleet.workers[0].settle(admission, tokens_used=1)

    assert left == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]


async def test_unused_tokens_come_back(fleet: Fleet) -> None:
    admission = await fleet.admit(tokens=900)
    await fleet.workers[0].settle(admission, tokens_used=100)

    assert (await fleet.admit(tokens=800)).allowed


async def test_tokens_beyond_the_reservation_are_charged(fleet: Fleet) -> None:
    admission = await fleet.admit(tokens=100)
    await fleet.workers[0].settle(admission, tokens_used=950)

    assert (await fleet.admit(tokens=51)).refused_by is Limit.TOKENS


async def test_a_request_is_settled_once(fleet: Fleet) -> None:
    admission = await fleet.admit(tokens=500)

    for _ in range(3):
        await fleet.workers[0].settle(admission, tokens_used=0)

    assert fleet.store.settlements == 1
    assert (await fleet.admit(tokens=1000)).allowed


async def test_a_cancelled_settlement_still_happens_once(fleet: Fleet) -> None:
    admission = await fleet.admit(tokens=1000)
    fleet.store.gate = asyncio.Event()
    settling = asyncio.ensure_future(fleet.workers[0].settle(admission, tokens_used=0))
    await let_others_run()
    settling.cancel()
    await fleet.workers[0].settle(admission, tokens_used=0)

    fleet.store.gate.set()
    await fleet.workers[0].flush()

    assert fleet.store.settlements == 1
    assert (await fleet.admit(tokens=1000)).allowed


async def test_the_lease_of_a_long_request_is_renewed(fleet: Fleet) -> None:
    renewing = asyncio.ensure_future(fleet.workers[0].renew_forever())
    held = [await fleet.admit() for _ in range(4)]
    for _ in range(60):
        await fleet.clock.pass_time(1.0)

    fifth = await fleet.admit(1)
    await fleet.workers[0].settle(held[0], tokens_used=0)

    assert fifth.refused_by is Limit.IN_FLIGHT
    assert (await fleet.admit(1)).allowed
    renewing.cancel()


async def test_the_slots_of_a_dead_worker_come_back(fleet: Fleet) -> None:
    assert [(await fleet.admit(0)).allowed for _ in range(4)] == [True] * 4

    await fleet.clock.pass_time(15.0)

    assert (await fleet.admit(1)).allowed


# -- what callers are told


async def test_an_admitted_caller_is_told_what_is_left(fleet: Fleet) -> None:
    admission = await fleet.admit(tokens=100)

    assert admission.headers() == [
        (b"ratelimit", b'"requests";r=9;t=61, "tokens";r=900;t=61'),
        (
            b"ratelimit-policy",
            b'"requests";q=10;w=60, "tokens";q=1000;w=60, "in_flight";q=4;qu="concurrent-requests"',
        ),
    ]


async def test_a_refused_caller_is_told_when_to_come_again(fleet: Fleet) -> None:
    await fleet.finish(10)
    refused = await fleet.admit()

    fleet.clock.advance(float(dict(refused.headers())[b"retry-after"]))

    assert (await fleet.admit()).allowed


async def test_a_refusal_by_requests_in_flight_says_a_second(fleet: Fleet) -> None:
    for _ in range(4):
        await fleet.admit()

    assert (await fleet.admit()).retry_after_s == 1


# -- while the store is away


async def test_each_worker_keeps_to_its_share(fleet: Fleet) -> None:
    fleet.store.is_away = True

    admitted = [await fleet.finish(20, worker) for worker in range(2)]

    assert admitted == [5, 5]
    assert fleet.watchers[0].decided_locally == [True] * 20


async def test_an_outage_is_no_reset(fleet: Fleet) -> None:
    before = await fleet.finish(4, 0)
    fleet.store.is_away = True

    assert (before, await fleet.finish(20, 0)) == (4, 1)


async def test_local_answers_say_so_and_tell_the_share(fleet: Fleet) -> None:
    fleet.store.is_away = True

    fields = dict((await fleet.admit()).headers())

    assert fields[b"x-ratelimit-degraded"] == b"local"
    assert fields[b"ratelimit-policy"].startswith(b'"requests";q=5;w=60')


def test_shares_are_rounded_up() -> None:
    assert CONFIG.tiers["free"].share(3) == Tier(4, 334, 2)


async def test_what_was_admitted_alone_counts_afterwards(fleet: Fleet) -> None:
    fleet.store.is_away = True
    alone = await fleet.finish(5, 0) + await fleet.finish(3, 1)
    await fleet.come_back()

    assert (alone, await fleet.finish(20, 0)) == (8, 2)


async def test_it_counts_before_the_first_shared_decision(fleet: Fleet) -> None:
    """Nobody has told the workers yet that the store is back."""
    fleet.store.is_away = True
    await fleet.finish(5, 0, tokens=10)
    fleet.store.is_away = False

    admission = await fleet.admit(0)

    assert (admission.remaining, admission.tokens_remaining) == (4, 949)


async def test_what_was_admitted_alone_counts_once(fleet: Fleet) -> None:
    fleet.store.is_away = True
    await fleet.finish(3, 0)

    for _ in range(3):
        await fleet.come_back()
        await fleet.workers[0].renew()

    assert (await fleet.admit(1)).remaining == 6


async def test_what_left_the_window_meanwhile_counts_no_more(fleet: Fleet) -> None:
    fleet.store.is_away = True
    await fleet.finish(5, 0)
    fleet.clock.advance(62.0)
    await fleet.come_back()

    assert (await fleet.admit(0)).remaining == 9


async def test_what_runs_through_an_outage_stays_in_flight(fleet: Fleet) -> None:
    fleet.store.is_away = True
    alone = [await fleet.admit(0) for _ in range(2)]
    await fleet.come_back()
    shared = [(await fleet.admit(1)).allowed for _ in range(3)]

    await fleet.workers[0].settle(alone[0], tokens_used=1)

    assert shared == [True, True, False]
    assert (await fleet.admit(1)).allowed


async def test_what_ended_in_an_outage_is_settled_after_it(fleet: Fleet) -> None:
    admissions = [await fleet.admit(tokens=250) for _ in range(4)]
    fleet.store.is_away = True
    for each in admissions:
        await fleet.workers[0].settle(each, tokens_used=50)
    await fleet.come_back()

    admission = await fleet.admit(1)

    assert (admission.refused_by, admission.tokens_remaining) == (None, 799)


async def test_a_lost_answer_is_counted_once_in_the_end(fleet: Fleet) -> None:
    fleet.store.loses_answers = True
    assert await fleet.finish(3, 0, tokens=10) == 3
    fleet.store.loses_answers = False

    admission = await fleet.admit(1)

    assert (admission.remaining, admission.tokens_remaining) == (6, 969)


async def test_a_lost_admission_that_was_refused_here_keeps_no_place(fleet: Fleet) -> None:
    fleet.store.loses_answers = True
    alone = [await fleet.admit(0) for _ in range(4)]
    fleet.store.loses_answers = False
    for each in alone:
        await fleet.workers[0].settle(each, tokens_used=0)
    await fleet.workers[0].renew()

    shared = [(await fleet.admit(1)).allowed for _ in range(4)]

    assert [each.allowed for each in alone] == [True, True, False, False]
    assert shared == [True] * 4


async def test_without_a_store_one_worker_has_the_whole_limit() -> None:
    service = LimitService(replace(CONFIG, workers=1), clock=FakeClock())

    asked = [await service.admit("user", "pro", tokens=1) for _ in range(16)]
    for each in asked:
        await service.settle(each, tokens_used=1)

    assert all(each.allowed and not each.degraded for each in asked)
    assert (await service.admit("user", "pro", tokens=1)).remaining == 83


async def test_memory_does_not_grow_with_the_users_of_yesterday() -> None:
    clock = FakeClock()
    store = FaultyStore(clock, CONFIG)
    store.is_away = True
    service = LimitService(CONFIG, clock=clock, store=store)
    for count in range(1500):
        admission = await service.admit(f"user-{count}", "free", tokens=1)
        await service.settle(admission, tokens_used=1)
        clock.advance(0.1)

    for _ in range(4):
        clock.advance(61.0)
        await service.renew()

    assert (len(service._shadow), service._shadow.unmerged) == (0, [])
