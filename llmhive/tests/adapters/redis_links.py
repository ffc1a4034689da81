"""Links to a real Redis in tests: what is awaited of them, however slow the machine is.

A test of what a link or a store answers has PATIENCE_S; a test of how soon counts turns of
the event loop, or seconds of a clock of its own, and never those of the machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

from llmhive.app.adapters.redis_link import RedisLink
from llmhive.app.clock import SystemClock
from llmhive.tests.fakes import FakeClock, let_others_run

T = TypeVar("T")

CLOCK = SystemClock()
DEADLINE_S = 0.05  # the service's own
PATIENCE_S = 10.0


async def until(link: RedisLink, *, is_up: bool) -> None:
    """Wait until the link is up or down."""
    started = time.monotonic()
    while link.is_up is not is_up:
        assert time.monotonic() < started + PATIENCE_S, "the link stays as it is"
        await CLOCK.sleep(0.002)


async def opened(link: RedisLink) -> RedisLink:
    """The link in use, be it at the second attempt."""
    await link.open()
    await until(link, is_up=True)
    return link


async def seconds_until(link: RedisLink, clock: FakeClock, *, is_up: bool) -> float:
    """Let time pass whenever the link waits for it, until it is up or down; gives how much.

    Takes: `clock`, the link's own and nobody's besides.
    """
    began, started = clock.monotonic(), time.monotonic()
    while link.is_up is not is_up:
        assert time.monotonic() < started + PATIENCE_S, "the link stays as it is"
        if clock.sleepers:
            clock.advance(0.01)
        await CLOCK.sleep(0.001)
    return clock.monotonic() - began


async def ended_within(work: Awaitable[T], seconds: float) -> T:
    """What work gives that is over when a timer begun after its first step has run out.

    Timers of one loop run in their order, so that a slow machine delays both alike.
    """
    started = asyncio.ensure_future(work)
    await let_others_run()
    await CLOCK.sleep(seconds)
    await let_others_run()
    assert started.done()
    return started.result()
