"""Windows in a real Redis, held to the same behaviour as those in memory, at hours of our own."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmhive.app.adapters.memory_windows import MemoryWindowStore
from llmhive.app.adapters.redis_keys import in_flight_key, window_key
from llmhive.app.adapters.redis_link import RedisLink
from llmhive.app.adapters.redis_windows import RedisWindowStore
from llmhive.app.clock import SystemClock
from llmhive.app.limits.model import (
    Decision,
    Demand,
    Limit,
    LimitConfig,
    Past,
    Settlement,
    Tier,
)
from llmhive.app.limits.ports import WindowStore, WindowStoreError
from llmhive.tests.adapters.hand_timed_redis import HandTimedLink
from llmhive.tests.adapters.redis_links import PATIENCE_S
from llmhive.tests.fakes import FakeClock
from llmhive.tests.redis_server import RedisServer

TIER = Tier(requests=5, tokens=100, in_flight=50)
CONFIG = LimitConfig({"free": TIER})
PREFIX = "test:ratelimit:"
# Past everything that a run of these tests can take; a minute and 300 ms before its full hour.
NOW_S = math.ceil(time.time() / 3600) * 3600 + 3540 - 0.3


def hand_clock() -> FakeClock:
    """A clock whose monotonic hours are those of Redis, so that buckets can be compared."""
    return FakeClock(monotonic_s=NOW_S, wall_s=NOW_S)


class Bench(NamedTuple):
    """A store, its clock, and a user of this test's own."""

    store: WindowStore
    clock: FakeClock
    user: str
    link: RedisLink

    def demand(self, tokens: int = 1, limits: Tier = TIER) -> Demand:
        """What one request of the user asks for."""
        return Demand(self.user, uuid.uuid4().hex, tokens, limits)

    async def admit(self, tokens: int = 1, limits: Tier = TIER) -> Decision:
        """Ask for one request."""
        return await self.store.admit(self.demand(tokens, limits), lambda _: None)

    async def admitted(self, times: int, tokens: int = 1, limits: Tier = TIER) -> int:
        """Ask so often, and count the admissions."""
        decisions = [await self.admit(tokens, limits) for _ in range(times)]
        return sum(decision.refused_by is None for decision in decisions)


@pytest.fixture(params=["memory", "redis"])
async def bench(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Bench]:
    clock = hand_clock()
    link = HandTimedLink(redis_server.url, clock)
    await link.open()
    stores: dict[str, WindowStore] = {
        "memory": MemoryWindowStore(clock, CONFIG),
        "redis": RedisWindowStore(link, clock, CONFIG, prefix=PREFIX),
    }
    yield Bench(stores[request.param], clock, uuid.uuid4().hex, link)
    await link.close()


# -- what every store does


async def test_the_limit_is_admitted_and_not_one_more(bench: Bench) -> None:
    assert await bench.admitted(20) == TIER.requests


async def test_what_is_used_counts_up_and_stays_when_refused(bench: Bench) -> None:
    decisions = [await bench.admit(tokens=3) for _ in range(7)]

    assert [each.requests_used for each in decisions] == [1, 2, 3, 4, 5, 5, 5]
    assert [each.tokens_used for each in decisions] == [3, 6, 9, 12, 15, 15, 15]


async def test_the_window_rolls_over_the_full_minute(bench: Bench) -> None:
    """The first five come 300 ms before the minute, the rest after it."""
    before = await bench.admitted(5)
    bench.clock.advance(0.6)

    assert (before, await bench.admitted(5)) == (5, 0)


async def test_the_wait_of_a_refusal_is_enough_and_not_a_bucket_too_long(bench: Bench) -> None:
    await bench.admitted(5)
    refused = await bench.admit()

    bench.clock.advance((refused.wait_ms - 1) / 1000)
    early = await bench.admit()
    bench.clock.advance(0.001)

    assert (early.refused_by, await bench.admitted(1)) == (Limit.REQUESTS, 1)
    assert 60_000 < refused.wait_ms <= 61_000


async def test_tokens_run_out_before_requests(bench: Bench) -> None:
    decisions = [await bench.admit(tokens=40) for _ in range(3)]

    assert [each.refused_by for each in decisions] == [None, None, Limit.TOKENS]


async def test_the_wait_is_that_of_the_window_exhausted_longest(bench: Bench) -> None:
    await bench.admitted(4, tokens=1)
    bench.clock.advance(10)
    await bench.admit(tokens=90)

    refused = await bench.admit(tokens=20)

    assert refused.refused_by is Limit.REQUESTS
    assert 60_000 < refused.wait_ms <= 61_000


async def test_so_many_are_in_flight_and_no_more(bench: Bench) -> None:
    narrow = Tier(requests=5, tokens=100, in_flight=2)

    decisions = [await bench.admit(limits=narrow) for _ in range(3)]

    assert [each.refused_by for each in decisions] == [None, None, Limit.IN_FLIGHT]
    assert decisions[-1].wait_ms == 1000


async def test_a_lease_that_nobody_renews_ends_by_itself(bench: Bench) -> None:
    narrow = Tier(requests=5, tokens=100, in_flight=1)
    await bench.admit(limits=narrow)

    bench.clock.advance(14.9)
    early = await bench.admitted(1, limits=narrow)
    bench.clock.advance(0.1)

    assert (early, await bench.admitted(1, limits=narrow)) == (0, 1)


async def test_a_renewed_lease_lasts(bench: Bench) -> None:
    narrow, demand = Tier(requests=5, tokens=100, in_flight=2), bench.demand()
    await bench.store.admit(demand, lambda _: None)

    bench.clock.advance(10)
    await bench.store.renew(bench.user, [demand.operation_id], [])
    bench.clock.advance(10)

    assert await bench.admitted(3, limits=narrow) == 1


async def test_a_lost_lease_is_put_back_only_where_it_was_given(bench: Bench) -> None:
    """A lease of what is still to be merged would say that it has been counted."""
    narrow = Tier(requests=5, tokens=100, in_flight=2)

    await bench.store.renew(bench.user, ["given"], ["merged"])

    assert await bench.admitted(3, limits=narrow) == 1


def _settlement(demand: Demand, decision: Decision, surplus: int = 0) -> Settlement:
    where = (decision.window_start_ms, decision.bucket)
    return Settlement(demand.user, demand.operation_id, surplus, *where)


async def test_a_refund_goes_back_to_the_bucket_that_reserved(bench: Bench) -> None:
    demand = bench.demand(tokens=80)
    decision = await bench.store.admit(demand, lambda _: None)
    bench.clock.advance(30)
    await bench.admit(tokens=10)

    await bench.store.settle(_settlement(demand, decision, -70))
    after = await bench.admit(tokens=0)
    bench.clock.advance(31)

    assert after.tokens_used == 20
    assert (await bench.admit(tokens=0)).tokens_used == 10


async def test_a_refund_takes_no_more_than_is_there(bench: Bench) -> None:
    demand = bench.demand(tokens=10)
    decision = await bench.store.admit(demand, lambda _: None)

    for _ in range(3):
        await bench.store.settle(_settlement(demand, decision, -8))

    assert (await bench.admit(tokens=0)).tokens_used == 0


async def test_a_refund_whose_window_is_gone_goes_nowhere(bench: Bench) -> None:
    demand = bench.demand(tokens=50)
    decision = await bench.store.admit(demand, lambda _: None)
    bench.clock.advance(150)
    await bench.admit(tokens=50)

    await bench.store.settle(_settlement(demand, decision, -50))

    assert (await bench.admit(tokens=0)).tokens_used == 50


async def test_an_overrun_is_charged_when_it_is_known(bench: Bench) -> None:
    demand = bench.demand(tokens=10)
    decision = await bench.store.admit(demand, lambda _: None)
    bench.clock.advance(40)

    await bench.store.settle(_settlement(demand, decision, 60))
    bench.clock.advance(30)

    assert (await bench.admit(tokens=0)).tokens_used == 60


async def test_what_a_worker_admitted_alone_is_counted_at_its_age(bench: Bench) -> None:
    now_ms = int(bench.clock.monotonic() * 1000)
    pasts = {
        "old": Past(now_ms - 45_000, 1, 30, is_unsure=False),
        "new": Past(now_ms - 5_000, 1, 20, is_unsure=False),
    }

    await bench.store.merge(bench.user, pasts, ["new"])
    at_once = await bench.admit(tokens=0)
    bench.clock.advance(20)
    later = await bench.admit(tokens=0)

    assert (at_once.requests_used, at_once.tokens_used) == (3, 50)
    assert (later.requests_used, later.tokens_used) == (3, 20)


async def test_what_may_stand_there_already_is_counted_once(bench: Bench) -> None:
    demand, lost = bench.demand(tokens=7), bench.demand(tokens=5)
    await bench.store.admit(demand, lambda _: None)
    now_ms = int(bench.clock.monotonic() * 1000)
    pasts = {
        each.operation_id: Past(now_ms, 1, each.tokens, is_unsure=True) for each in (demand, lost)
    }

    await bench.store.merge(bench.user, pasts, [])

    decision = await bench.admit(tokens=0)
    assert (decision.requests_used, decision.tokens_used) == (3, 12)


# -- any history


class Step(NamedTuple):
    """Let time pass, then ask for a request, or settle or merge one."""

    ms: int
    verb: str
    tokens: int


# Around buckets (1 s), windows (60 s) and what is two windows old.
PAUSES = st.sampled_from([0, 1, 10, 500, 999, 1000, 1001, 15_000, 29_999, 60_000, 61_000, 130_000])
STEPS = st.lists(
    st.builds(
        Step,
        PAUSES,
        st.sampled_from(["admit", "admit", "admit", "settle", "merge"]),
        st.integers(0, 60),
    ),
    max_size=40,
)


async def _history(
    store: WindowStore, clock: FakeClock, user: str, steps: list[Step]
) -> list[Decision]:
    decisions, seats = [], []
    for count, step in enumerate(steps):
        clock.advance(step.ms / 1000)
        demand = Demand(user, f"operation-{count}", step.tokens, TIER)
        if step.verb == "admit":
            decisions.append(await store.admit(demand, lambda _: None))
            seats += [(demand, decisions[-1])] if decisions[-1].refused_by is None else []
        elif step.verb == "settle" and seats:
            await store.settle(_settlement(*seats.pop(), surplus=step.tokens - 30))
        elif step.verb == "merge":
            at_ms = int(clock.monotonic() * 1000) - step.tokens * 900
            past = Past(at_ms, 1, step.tokens, is_unsure=False)
            await store.merge(user, {demand.operation_id: past}, [])
    return decisions


@settings(deadline=None)
@given(steps=STEPS)
def test_redis_and_memory_agree_on_any_history(
    redis_server: RedisServer, steps: list[Step]
) -> None:
    async def run() -> None:
        ours, theirs = hand_clock(), hand_clock()
        link, user = HandTimedLink(redis_server.url, theirs), uuid.uuid4().hex
        redis = RedisWindowStore(link, theirs, CONFIG, prefix=PREFIX)
        expected = await _history(MemoryWindowStore(ours, CONFIG), ours, user, steps)
        assert await _history(redis, theirs, user, steps) == expected
        await link.close()

    asyncio.run(run())


# -- what Redis does besides


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisLink]:
    link = RedisLink(redis_server.url, deadline_s=PATIENCE_S)
    await link.open()
    yield link
    await link.close()


@pytest.fixture
def user() -> str:
    return f"user: {uuid.uuid4().hex} {{%}}"


def _store(link: RedisLink, config: LimitConfig = CONFIG) -> RedisWindowStore:
    return RedisWindowStore(link, SystemClock(), config, prefix=PREFIX)


async def test_many_at_once_over_several_workers_are_admitted_to_the_limit(
    redis_server: RedisServer, user: str
) -> None:
    links = [RedisLink(redis_server.url, deadline_s=PATIENCE_S) for _ in range(4)]
    await asyncio.gather(*(each.open() for each in links))
    stores = [_store(each) for each in links]

    asked = [stores[n % 4].admit(Demand(user, f"{n}", 1, TIER), lambda _: None) for n in range(400)]
    decisions = await asyncio.gather(*asked)

    assert sum(each.refused_by is None for each in decisions) == TIER.requests
    await asyncio.gather(*(each.close() for each in links))


async def test_keys_have_their_names_their_types_and_an_end(link: RedisLink, user: str) -> None:
    decision = await _store(link).admit(Demand(user, "operation", 9, TIER), lambda _: None)

    window = window_key(PREFIX, user, decision.window_start_ms)
    leases = in_flight_key(PREFIX, user)

    fields = {
        f"r60000:{decision.bucket}".encode(),
        b"1",
        f"t60000:{decision.bucket}".encode(),
        b"9",
    }
    assert set(await link.command("HGETALL", window)) == fields
    assert 60_000 <= await link.command("PTTL", window) <= 120_000
    assert 29_000 <= await link.command("PTTL", leases) <= 30_000


async def test_a_refusal_writes_nothing(link: RedisLink, user: str) -> None:
    store, none = _store(link), Tier(requests=0, tokens=0, in_flight=0)

    decision = await store.admit(Demand(user, "operation", 1, none), lambda _: None)

    assert decision.refused_by is Limit.REQUESTS
    keys = [window_key(PREFIX, user, decision.window_start_ms), in_flight_key(PREFIX, user)]
    assert await link.command("EXISTS", *keys) == 0


async def test_a_full_window_is_small(redis_server: RedisServer, user: str) -> None:
    clock = hand_clock()
    clock.advance(0.3)
    link = HandTimedLink(redis_server.url, clock)
    store, wide = _store(link), Tier(requests=10**6, tokens=10**9, in_flight=10**6)
    for n in range(60):
        await asyncio.gather(
            *(store.admit(Demand(user, f"{n}-{m}", 9999, wide), lambda _: None) for m in range(20))
        )
        clock.advance(1)

    key = window_key(PREFIX, user, round((NOW_S + 0.3) * 1000))

    assert await link.command("HLEN", key) == 120
    assert await link.command("OBJECT", "ENCODING", key) == b"listpack"
    assert await link.command("MEMORY", "USAGE", key) < 3072
    await link.close()


async def test_a_worker_whose_clock_is_wrong_counts_by_that_of_redis(
    link: RedisLink, user: str
) -> None:
    wrong = FakeClock(wall_s=time.time() - 450.0)
    stores = [_store(link), RedisWindowStore(link, wrong, CONFIG, prefix=PREFIX)]

    decisions = [
        await stores[n % 2].admit(Demand(user, f"{n}", 1, TIER), lambda _: None) for n in range(8)
    ]

    assert sum(each.refused_by is None for each in decisions) == TIER.requests


async def test_a_caller_who_left_has_the_decision_handed_over(
    own_redis: RedisServer, user: str
) -> None:
    link = RedisLink(own_redis.url, deadline_s=PATIENCE_S)
    orphans = asyncio.Queue[Decision]()
    store = _store(link)
    await store.admit(Demand(user, "one", 1, TIER), orphans.put_nowait)

    with own_redis.frozen():
        asked = asyncio.ensure_future(store.admit(Demand(user, "two", 1, TIER), orphans.put_nowait))
        await asyncio.wait([asked], timeout=0.01)
        asked.cancel()

    assert (await orphans.get()).requests_used == 2
    await link.close()


async def test_a_user_whose_keys_were_spoilt_is_said_to_be_away(link: RedisLink, user: str) -> None:
    await link.command("SET", in_flight_key(PREFIX, user), "a text", "PX", 60_000)

    with pytest.raises(WindowStoreError) as caught:
        await _store(link).admit(Demand(user, "operation", 1, TIER), lambda _: None)

    assert caught.value.definite
    assert link.is_up
