"""Fakes that implement the service's ports for white-box tests."""

from __future__ import annotations

import asyncio
import heapq
import itertools


class FakeClock:
    """A Clock that a test owns: time passes only by `advance`, and wakes whoever sleeps.

    It starts away from zero, where mistakes hide.
    """

    def __init__(self, *, monotonic_s: float = 1000.0, wall_s: float = 1_790_000_000.0) -> None:
        self._now_s = monotonic_s
        self._wall_offset_s = wall_s - monotonic_s
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self._now_s

    def wall(self) -> float:
        return self._now_s + self._wall_offset_s

    async def sleep(self, seconds: float) -> None:
        """Wait until a test has let `seconds` pass."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_s + seconds, next(self._order), woken))
        await woken

    @property
    def sleepers(self) -> int:
        """How many wait for a test to let time pass."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once; sleepers that are due wake at the next turn of the loop."""
        self._now_s += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now_s:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)

    async def pass_time(self, seconds: float) -> None:
        """Let `seconds` pass, and everybody who was woken do what they do next."""
        self.advance(seconds)
        await let_others_run()

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock alone, as NTP or an operator would."""
        self._wall_offset_s += seconds


async def let_others_run(turns: int = 20) -> None:
    """Give every ready task its turn: twenty turns are deeper than any chain of awaits here."""
    loop = asyncio.get_running_loop()
    for _ in range(turns):
        turn: asyncio.Future[None] = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn
