"""A breaker in one worker on its own: what opens it, what closes it, what does nothing."""

from __future__ import annotations

import pytest

from llmhive.app.breakers.model import BreakerConfig, CircuitState
from llmhive.app.breakers.service import BreakerOpenError
from llmhive.tests.breakers.fleet import CONFIG, NAME, OTHER, PROVIDER, HandClock, Worker

CLOSED, HALF_OPEN, OPEN = CircuitState.CLOSED, CircuitState.HALF_OPEN, CircuitState.OPEN


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def worker(clock: HandClock) -> Worker:
    return Worker(clock)


# -- opening


async def test_the_fifth_failure_opens_and_the_fourth_does_not(worker: Worker) -> None:
    await worker.fail(4)
    before = worker.state()

    await worker.fail(1)

    assert (before, worker.state()) == (CLOSED, OPEN)


async def test_failures_below_half_of_the_attempts_do_not_open(worker: Worker) -> None:
    await worker.succeed(10)

    await worker.fail(9)

    assert worker.state() is CLOSED


async def test_interleaved_failures_of_seven_in_ten_open(worker: Worker) -> None:
    for _ in range(2):
        await worker.succeed(1)
        await worker.fail(2)

    await worker.fail(1)

    assert worker.state() is OPEN


async def test_failures_older_than_the_window_are_forgotten(
    worker: Worker, clock: HandClock
) -> None:
    await worker.fail(4)
    clock.turn(30.0)

    await worker.fail(4)

    assert worker.state() is CLOSED


async def test_neutral_ends_neither_open_nor_dilute(worker: Worker) -> None:
    for _ in range(1000):
        (await worker.permit()).neutral()
    before = worker.state()

    await worker.fail(5)

    assert (before, worker.state()) == (CLOSED, OPEN)


async def test_one_credential_does_not_open_another(worker: Worker) -> None:
    await worker.fail(5)

    assert worker.state(OTHER) is CLOSED
    await worker.permit(OTHER)


async def test_connection_failures_open_the_parent_and_so_all_its_children(worker: Worker) -> None:
    await worker.fail(5, connect=True)

    with pytest.raises(BreakerOpenError):
        await worker.permit(OTHER)
    assert (worker.state(PROVIDER), worker.state("anthropic")) == (OPEN, CLOSED)


async def test_answers_with_errors_leave_the_parent_closed(worker: Worker) -> None:
    await worker.fail(5)

    assert worker.state(PROVIDER) is CLOSED


# -- open


async def test_an_open_breaker_says_how_long_to_wait(worker: Worker, clock: HandClock) -> None:
    await worker.fail(5)
    clock.turn(10.2)

    with pytest.raises(BreakerOpenError) as refusal:
        await worker.permit()

    assert (refusal.value.retry_after_s, refusal.value.definite) == (20, True)


async def test_late_failures_do_not_extend_the_wait(worker: Worker, clock: HandClock) -> None:
    stragglers = await worker.permits(10)
    await worker.fail(5)

    for straggler in stragglers:
        clock.turn(2.9)
        straggler.fail("late")
    clock.turn(1.1)

    assert worker.state() is HALF_OPEN


async def test_the_wait_doubles_with_every_failed_probe_up_to_five_minutes(
    worker: Worker, clock: HandClock
) -> None:
    await worker.fail(5)

    waits = []
    for _ in range(6):
        waits.append(worker.service.states()[NAME].wait_s)
        clock.turn(waits[-1])
        await worker.fail(1)

    assert waits == pytest.approx([30, 60, 120, 240, 300, 300], abs=1e-6)


async def test_waits_are_spread_by_a_tenth(clock: HandClock) -> None:
    waits = []
    for _ in range(200):
        worker = Worker(clock, config=BreakerConfig())
        await worker.fail(5)
        waits.append(worker.service.states()[NAME].wait_s)

    assert 27 <= min(waits) < 28
    assert 32 < max(waits) <= 33


# -- half open


async def _half_open(worker: Worker, clock: HandClock) -> None:
    await worker.fail(5)
    clock.turn(30.0)


async def test_at_most_three_probes_are_in_flight(worker: Worker, clock: HandClock) -> None:
    await _half_open(worker, clock)

    probes = await worker.permits(200)

    assert [probe.is_probe for probe in probes] == [True] * 3


async def test_three_successes_close_and_two_do_not(worker: Worker, clock: HandClock) -> None:
    await _half_open(worker, clock)
    await worker.succeed(2)
    before = worker.state()

    await worker.succeed(1)

    assert (before, worker.state()) == (HALF_OPEN, CLOSED)


async def test_one_failed_probe_opens_again(worker: Worker, clock: HandClock) -> None:
    await _half_open(worker, clock)
    await worker.succeed(2)

    await worker.fail(1)

    assert worker.state() is OPEN


async def test_a_neutral_probe_gives_its_slot_back_and_closes_nothing(
    worker: Worker, clock: HandClock
) -> None:
    await _half_open(worker, clock)

    for _ in range(20):
        (await worker.permit()).neutral()

    assert worker.state() is HALF_OPEN


async def test_a_hung_probe_counts_as_failure_when_its_lease_is_over(
    worker: Worker, clock: HandClock
) -> None:
    await _half_open(worker, clock)
    await worker.permit()
    clock.turn(CONFIG.lease_s)

    await worker.follow()

    assert worker.state() is OPEN


async def test_a_long_stream_holds_its_slot_as_long_as_it_said(
    worker: Worker, clock: HandClock
) -> None:
    await _half_open(worker, clock)
    probe = await worker.service.acquire(PROVIDER, NAME, attempt_timeout_s=120)
    clock.turn(120.5)
    await worker.follow()

    probe.succeed()
    await worker.succeed(2)

    assert worker.state() is CLOSED


async def test_a_success_from_before_the_opening_closes_nothing(
    worker: Worker, clock: HandClock
) -> None:
    stragglers = await worker.permits(3)
    await _half_open(worker, clock)

    for straggler in stragglers:
        straggler.succeed()

    assert worker.state() is HALF_OPEN


async def test_probes_of_an_earlier_round_close_nothing(worker: Worker, clock: HandClock) -> None:
    await _half_open(worker, clock)
    failing, *stragglers = await worker.permits(3)
    failing.fail("server_error")
    clock.turn(60.0)
    await worker.succeed(1)

    for straggler in stragglers:
        straggler.succeed()

    assert worker.state() is HALF_OPEN


async def test_a_failed_probe_of_an_earlier_round_opens_nothing(
    worker: Worker, clock: HandClock
) -> None:
    await _half_open(worker, clock)
    failing, straggler, _ = await worker.permits(3)
    failing.fail("server_error")
    clock.turn(60.0)

    straggler.fail("server_error")

    assert worker.state() is HALF_OPEN


async def test_failures_from_before_the_opening_do_not_count_after_the_recovery(
    worker: Worker, clock: HandClock
) -> None:
    stragglers = await worker.permits(10)
    await _half_open(worker, clock)
    await worker.succeed(3)

    for straggler in stragglers:
        straggler.fail("server_error")

    assert worker.state() is CLOSED


async def test_a_closed_breaker_starts_with_an_empty_window(
    worker: Worker, clock: HandClock
) -> None:
    await _half_open(worker, clock)
    await worker.succeed(3)

    await worker.fail(4)

    assert worker.state() is CLOSED


async def test_a_recovered_breaker_waits_its_first_wait_again(
    worker: Worker, clock: HandClock
) -> None:
    await _half_open(worker, clock)
    await worker.fail(1)
    clock.turn(60.0)
    await worker.succeed(3)

    await worker.fail(5)

    assert worker.service.states()[NAME].wait_s == pytest.approx(30.0, abs=1e-6)
