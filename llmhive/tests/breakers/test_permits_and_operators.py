"""Permits, cool-downs and operators of a breaker in one worker on its own."""

from __future__ import annotations

import asyncio

import pytest

from llmhive.app.breakers.model import CallOutcome, CircuitState, Forced
from llmhive.app.breakers.service import BreakerOpenError
from llmhive.app.errors import InvariantError
from llmhive.tests.breakers.fleet import NAME, HandClock, Worker

CLOSED, HALF_OPEN, OPEN = CircuitState.CLOSED, CircuitState.HALF_OPEN, CircuitState.OPEN


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def worker(clock: HandClock) -> Worker:
    return Worker(clock)


async def _half_open(worker: Worker, clock: HandClock) -> None:
    await worker.fail(5)
    clock.turn(30.0)


async def test_only_the_first_report_of_a_permit_counts(worker: Worker) -> None:
    permit = await worker.permit()

    for _ in range(10):
        permit.fail("server_error")
        permit.succeed()
        permit.cool_down(60)

    assert worker.watcher.calls == [(NAME, CallOutcome.FAILURE)]
    assert worker.state() is CLOSED


async def test_fifty_slow_attempts_run_side_by_side(worker: Worker) -> None:
    assert len(await worker.permits(50)) == 50


async def test_an_unknown_name_makes_no_breaker(worker: Worker) -> None:
    with pytest.raises(InvariantError, match="openai:gpt-4o:0"):
        await worker.permit("openai:gpt-4o:7")


# -- cool-downs


async def test_a_cool_down_parks_the_credential_and_is_no_failure(
    worker: Worker, clock: HandClock
) -> None:
    for permit in await worker.permits(10):
        permit.cool_down(3.0)

    clock.turn(2.9)
    with pytest.raises(BreakerOpenError) as refusal:
        await worker.permit()
    clock.turn(0.2)

    assert (refusal.value.reason, worker.state()) == ("cooling_down", CLOSED)
    assert len(await worker.permits(5)) == 5


async def test_a_probe_that_must_cool_down_gives_its_slot_back(
    worker: Worker, clock: HandClock
) -> None:
    await _half_open(worker, clock)
    for probe in await worker.permits(3):
        probe.cool_down(5.0)
    clock.turn(5.0)

    assert (worker.state(), len(await worker.permits(9))) == (HALF_OPEN, 3)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
async def test_a_senseless_cool_down_does_not_park(worker: Worker, seconds: float) -> None:
    (await worker.permit()).cool_down(seconds)

    assert len(await worker.permits(5)) == 5


async def test_an_endless_cool_down_ends_within_a_month(worker: Worker, clock: HandClock) -> None:
    (await worker.permit()).cool_down(float("inf"))

    clock.turn(31 * 86_400.0)

    assert len(await worker.permits(5)) == 5


# -- operators


async def test_a_forced_open_breaker_stays_open_beyond_every_timer(
    worker: Worker, clock: HandClock
) -> None:
    worker.service.force(NAME, Forced.OPEN, "maintenance")

    clock.turn(86_400.0)
    await worker.follow()

    assert (worker.state(), await worker.permits(3)) == (OPEN, [])


async def test_a_forced_closed_breaker_never_opens(worker: Worker) -> None:
    worker.service.force(NAME, Forced.CLOSED, "incident")

    await worker.fail(50)

    assert worker.state() is CLOSED


async def test_a_breaker_given_back_starts_afresh(worker: Worker) -> None:
    await worker.fail(5)
    worker.service.force(NAME, Forced.CLOSED, "incident")
    worker.service.force(NAME, Forced.NO, "over")

    await worker.fail(4)

    assert worker.state() is CLOSED


# -- what is seen


async def test_every_transition_is_seen_without_traffic(worker: Worker, clock: HandClock) -> None:
    await worker.fail(5)
    clock.turn(30.0)
    await worker.follow()

    assert worker.watcher.moves == [(NAME, OPEN), (NAME, HALF_OPEN)]
    assert worker.watcher.states[NAME] is HALF_OPEN


async def test_the_follower_goes_round_until_it_is_cancelled(
    worker: Worker, clock: HandClock
) -> None:
    following = asyncio.ensure_future(worker.service.follow_forever())
    started = clock.now
    while clock.now < started + 1.0:
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)

    following.cancel()

    assert set(worker.watcher.states.values()) == {CLOSED}


async def test_rejections_are_counted(worker: Worker) -> None:
    await worker.fail(5)

    await worker.permits(3)

    assert worker.watcher.calls[-3:] == [(NAME, CallOutcome.REJECTED)] * 3
