"""Any history of attempts, waits and outages: what a breaker must never do, searched for.

The oracle of opening is a plain list of outcomes; the clock moves in whole buckets, so
that the list and the ring agree to the last outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from llmhive.app.adapters.memory_circuits import MemoryCircuitStore
from llmhive.app.breakers.model import TRANSITIONS, BreakerConfig, CircuitState
from llmhive.app.breakers.permit import Permit
from llmhive.tests.breakers.fleet import CONFIG, NAME, HandClock, Worker

BUCKET_S = CONFIG.window_s / 60
PATHS = {(source, target) for (source, _), target in TRANSITIONS.items()}
SEARCH = settings(
    max_examples=30,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


class OneBreaker(RuleBasedStateMachine):
    """One worker, one breaker, and the list of what happened in its closed stay."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = HandClock()
        self.worker = Worker(self.clock)
        self.permits: list[tuple[Permit, str, float]] = []
        self.outcomes: list[tuple[float, bool]] = []

    def teardown(self) -> None:
        self.runner.close()

    @property
    def epoch(self) -> str:
        return self.worker.service._shared.by_name[NAME].record.epoch

    @rule()
    def begin(self) -> None:
        for permit in self.runner.run(self.worker.permits(1)):
            self.permits.append((permit, self.epoch, self.clock.now + CONFIG.lease_s))

    @precondition(lambda self: self.permits)
    @rule(data=st.data(), is_failure=st.booleans())
    def end(self, data: st.DataObject, *, is_failure: bool) -> None:
        index = data.draw(st.integers(0, len(self.permits) - 1))
        permit, epoch, _ = self.permits.pop(index)
        before, state = self.epoch, self.worker.state()
        if epoch == before and state is CircuitState.CLOSED:
            self.outcomes.append((self.clock.now, is_failure))
        self.report(permit, is_failure=is_failure)
        if epoch != before:
            assert self.epoch == before, "a late result changed something"

    def report(self, permit: Permit, *, is_failure: bool) -> None:
        if is_failure:
            permit.fail("server_error")
        else:
            permit.succeed()

    @precondition(lambda self: self.permits)
    @rule()
    def leave(self) -> None:
        epoch = self.epoch
        self.permits.pop()[0].neutral()
        assert self.epoch == epoch, "a neutral end changed something"

    @rule(buckets=st.integers(1, 90))
    def wait(self, buckets: int) -> None:
        self.clock.turn(buckets * BUCKET_S)
        self.runner.run(self.worker.follow())

    @invariant()
    def opens_exactly_when_the_list_says_so(self) -> None:
        recent = [failed for at, failed in self.outcomes if self.clock.now - at < CONFIG.window_s]
        last_failed = bool(self.outcomes) and self.outcomes[-1] == (self.clock.now, True)
        is_due = last_failed and sum(recent) >= 5 and sum(recent) * 2 >= len(recent)
        if self.worker.state() is not CircuitState.CLOSED:
            assert is_due or not self.outcomes
            self.outcomes.clear()
        else:
            assert not is_due

    @invariant()
    def never_has_more_than_three_live_probes(self) -> None:
        live = [
            permit
            for permit, epoch, end in self.permits
            if permit.is_probe and epoch == self.epoch and end > self.clock.now
        ]
        assert len(live) <= CONFIG.probes

    @invariant()
    def moves_along_the_table_only(self) -> None:
        path = [CircuitState.CLOSED, *(state for _, state in self.worker.watcher.moves)]
        assert PATHS.issuperset(pairwise(path))


class Fleet(RuleBasedStateMachine):
    """Two workers and a store that goes away, empties and returns: it must always heal."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = HandClock()
        self.config = BreakerConfig()
        self.store = MemoryCircuitStore(self.clock, self.config)
        self.workers = [Worker(self.clock, self.store, self.config) for _ in range(2)]
        for number, worker in enumerate(self.workers):
            # A history that is found must be one that can be told again.
            worker.service._shared._chance = Random(number)  # noqa: S311
        self.permits: list[Permit] = []
        self.was_always_healthy = True
        self.follow()

    def teardown(self) -> None:
        self.heal()
        self.runner.close()

    @rule(who=st.integers(0, 1), count=st.integers(1, 6))
    def begin(self, who: int, count: int) -> None:
        self.permits += self.runner.run(self.workers[who].permits(count))

    @precondition(lambda self: self.permits)
    @rule(report=st.sampled_from(["succeed", "fail", "connect", "neutral", "cool"]))
    def end(self, report: str) -> None:
        async def settle() -> None:
            permit = self.permits.pop(0)
            ends: dict[str, Callable[[], None]] = {
                "succeed": permit.succeed,
                "fail": lambda: permit.fail("server_error"),
                "connect": lambda: permit.fail("connect_failed", connect=True),
                "neutral": permit.neutral,
                "cool": lambda: permit.cool_down(4.0),
            }
            ends[report]()
            for worker in self.workers:
                await worker.service.flush()

        self.runner.run(settle())

    @rule(who=st.integers(0, 1), times=st.integers(1, 8))
    def fail_in_a_row(self, who: int, times: int) -> None:
        async def fail() -> None:
            for permit in await self.workers[who].permits(times):
                permit.fail("server_error")
            await self.workers[who].service.flush()

        self.runner.run(fail())

    @rule(seconds=st.floats(0.1, 40.0))
    def wait(self, seconds: float) -> None:
        self.clock.turn(seconds)

    @rule()
    def everybody_follows(self) -> None:
        self.follow()

    def follow(self) -> None:
        for worker in self.workers:
            self.runner.run(worker.follow())

    @rule(is_away=st.booleans())
    def lose_the_store_or_find_it(self, *, is_away: bool) -> None:
        self.store.is_away = is_away
        self.was_always_healthy &= not is_away

    @rule()
    def empty_the_store(self) -> None:
        self.store.records.clear()
        self.was_always_healthy = False

    @invariant()
    def three_probes_at_most_while_the_store_is_well(self) -> None:
        if self.was_always_healthy:
            counts = [len(record.leases) for record in self.store.records.values()]
            assert max(counts, default=0) <= self.config.probes

    def heal(self) -> None:
        """Whatever happened: a store that is back and a provider that is well end in closed."""
        self.store.is_away = False
        for permit in self.permits:
            self.runner.run(self.settle(permit))
        for _ in range(8):  # leases run out, the longest wait passes, probes succeed
            self.clock.turn(self.config.open_max_s * 1.2)
            self.follow()
            self.runner.run(self.workers[0].succeed_as_far_as_possible())
        self.follow()
        assert {worker.state() for worker in self.workers} == {CircuitState.CLOSED}

    async def settle(self, permit: Permit) -> None:
        permit.neutral()
        for worker in self.workers:
            await worker.service.flush()


OneBreaker.TestCase.settings = SEARCH
Fleet.TestCase.settings = SEARCH
TestOneBreaker = OneBreaker.TestCase
TestFleet = Fleet.TestCase
