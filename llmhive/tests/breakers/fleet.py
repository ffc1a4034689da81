"""Workers with breakers for tests: a clock turned by hand, an observer that remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llmhive.app.adapters.memory_circuits import MemoryCircuitStore
from llmhive.app.breakers.model import BreakerConfig, CallOutcome, CircuitRecord, CircuitState
from llmhive.app.breakers.ports import CircuitStore, CircuitStoreError
from llmhive.app.breakers.service import BreakerOpenError, BreakerService, Permit

PROVIDER = "openai"
NAME = "openai:gpt-4o:0"
OTHER = "openai:gpt-4o:1"
NAMES = {PROVIDER: [NAME, OTHER], "anthropic": ["anthropic:claude:0"]}
CONFIG = BreakerConfig(jitter=0.0)


async def let_others_run() -> None:
    """Yield to the event loop for longer than a turn, and wait for nothing."""
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)


class HandClock:
    """A clock that a test turns; it starts away from zero, where mistakes hide."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_790_000_000.0 + self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await let_others_run()

    def turn(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self.now += seconds


class FaultyStore(MemoryCircuitStore):
    """A store that can be away, lose its answers to `lease`, or sit on readings."""

    loses_grants = False
    is_slow = False

    async def look(self, names: Sequence[str]) -> list[CircuitRecord | None]:
        records = await super().look(names)
        while self.is_slow:
            await let_others_run()
        return records

    async def lease(
        self, name: str, epoch: str, lease_id: str, lease_s: float
    ) -> CircuitRecord | None:
        record = await super().lease(name, epoch, lease_id, lease_s)
        if self.loses_grants:
            raise CircuitStoreError
        return record


class Watcher:
    """An observer that remembers everything."""

    def __init__(self) -> None:
        self.states: dict[str, CircuitState] = {}
        self.moves: list[tuple[str, CircuitState]] = []
        self.calls: list[tuple[str, CallOutcome]] = []

    def state_seen(self, name: str, state: CircuitState) -> None:
        self.states[name] = state

    def transitioned(self, name: str, state: CircuitState, reason: str) -> None:
        del reason
        self.moves.append((name, state))

    def call_counted(self, name: str, outcome: CallOutcome) -> None:
        self.calls.append((name, outcome))


class Worker:
    """One worker's service, with the few moves that tests repeat."""

    def __init__(
        self, clock: HandClock, store: CircuitStore | None = None, config: BreakerConfig = CONFIG
    ) -> None:
        self.watcher = Watcher()
        self.service = BreakerService(
            NAMES, config, clock=clock, observer=self.watcher, store=store
        )

    async def permit(self, name: str = NAME) -> Permit:
        """Get leave for one attempt."""
        return await self.service.acquire(PROVIDER, name)

    async def permits(self, count: int) -> list[Permit]:
        """Get as many of `count` permits as are given."""
        asked = [self.permit() for _ in range(count)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(each, Permit | BreakerOpenError) for each in answers), answers
        return [each for each in answers if isinstance(each, Permit)]

    async def fail(self, times: int, *, connect: bool = False) -> None:
        """Let `times` attempts fail."""
        for _ in range(times):
            (await self.permit()).fail("server_error", connect=connect)
        await self.service.flush()

    async def succeed(self, times: int) -> None:
        """Let `times` attempts succeed, one after the other."""
        for _ in range(times):
            (await self.permit()).succeed()
            await self.service.flush()

    async def succeed_as_far_as_possible(self) -> None:
        """Let a few attempts succeed, as far as any are let through."""
        for _ in range(3):
            for permit in await self.permits(1):
                permit.succeed()
            await self.service.flush()

    async def follow(self) -> None:
        """Follow the shared state once, and let what follows from it be told."""
        await self.service.follow()
        await self.service.flush()

    def state(self, name: str = NAME) -> CircuitState:
        """Where the breaker stands, as this worker sees it."""
        return self.service.states()[name].state
