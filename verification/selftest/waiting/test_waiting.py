"""Waiting: what comes is awaited, what must not come is watched, races really start together."""

from __future__ import annotations

import itertools
import threading

import pytest

from verification.harness.waiting import (
    ControlDidNotBiteError,
    came_true,
    eventually,
    meanwhile,
    settled,
    steadily,
    together,
    together_over,
)


def test_the_first_value_that_fits_is_given() -> None:
    numbers = itertools.count()

    found = eventually(lambda: next(numbers), until=lambda n: n >= 3, within_s=5, claim="three")

    assert found == 3


def test_a_condition_that_never_comes_fails_with_claim_bound_and_values() -> None:
    values = itertools.cycle(["closed", "open"])

    with pytest.raises(AssertionError) as failure:
        eventually(lambda: next(values), until=lambda _: False, within_s=0.1, claim="half-open")

    assert str(failure.value).startswith("not within 0.1 s: half-open")
    assert "'closed'; 'open'" in str(failure.value)


def test_a_condition_is_looked_at_once_more_at_the_deadline() -> None:
    looks: list[int] = []

    with pytest.raises(AssertionError):
        eventually(lambda: looks.append(1), until=bool, within_s=0.05, claim="-", every_s=10)

    assert len(looks) == 2


def test_an_error_of_the_probe_is_not_taken_for_a_broken_promise() -> None:
    def broken() -> int:
        raise LookupError

    with pytest.raises(LookupError):
        eventually(broken, until=bool, within_s=5, claim="-")


def test_a_value_that_changes_is_not_steady() -> None:
    values = itertools.chain([0, 0], itertools.repeat(1))

    with pytest.raises(AssertionError, match=r"no longer: stays at zero \(got 1\)"):
        steadily(
            lambda: next(values),
            holds=lambda n: n == 0,
            for_s=5,
            claim="stays at zero",
            control=lambda: None,
        )


def test_a_steady_value_that_its_control_moves_is_proved() -> None:
    seen = [0]

    values = steadily(
        lambda: seen[0],
        holds=lambda n: n == 0,
        for_s=0.05,
        claim="stays at zero",
        control=lambda: seen.append(seen.pop() + 1),
    )

    assert set(values) == {0}


def test_a_blind_probe_cannot_prove_that_something_is_steady() -> None:
    with pytest.raises(ControlDidNotBiteError, match="stays at zero"):
        steadily(
            lambda: 0,
            holds=lambda n: n == 0,
            for_s=0.02,
            claim="stays at zero",
            control=lambda: None,
            control_within_s=0.05,
        )


def test_a_moving_value_has_settled_when_it_stays() -> None:
    values = itertools.chain(range(5), itertools.repeat(5))

    assert settled(lambda: next(values), quiet_s=0.1, within_s=5, claim="five") == 5


def test_a_value_that_keeps_moving_has_not_settled() -> None:
    numbers = itertools.count()

    with pytest.raises(AssertionError, match=r"still moving after 0\.1 s: rest"):
        settled(lambda: next(numbers), quiet_s=0.08, within_s=0.1, claim="rest")


def test_something_that_came_true_says_so() -> None:
    numbers = itertools.count()

    assert came_true(lambda: next(numbers) > 2, within_s=5)
    assert not came_true(lambda: False, within_s=0.02)


def test_all_threads_are_inside_at_the_same_time() -> None:
    everybody = threading.Barrier(8)

    places = together(8, lambda: everybody.wait(5))

    assert sorted(places) == list(range(8))


def test_results_come_in_the_order_of_the_items() -> None:
    assert together_over([3, 1, 2], lambda n: n * 10) == [30, 10, 20]


def test_what_a_thread_raises_is_raised() -> None:
    def fail() -> None:
        raise LookupError

    with pytest.raises(ExceptionGroup) as failure:
        together(3, fail)

    assert len(failure.value.exceptions) == 3


def test_work_beside_the_test_goes_on_until_it_is_left() -> None:
    done: list[int] = []

    with meanwhile(lambda: done.append(1), every_s=0.001):
        eventually(lambda: len(done), until=lambda n: n >= 3, within_s=5, claim="goes on")

    assert len(done) >= 3


def test_an_error_beside_the_test_is_not_lost() -> None:
    def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError), meanwhile(fail):
        pass
