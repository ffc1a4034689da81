"""The breaker's path: hand-made histories on both sides of each bound, and simulated ones."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verification.checkers.breaker_path import (
    ClosesAfterSuccesses,
    KeepsToTheBreakerPath,
    NoAttemptWhileOpen,
    OpensAfterFailures,
    ProbesAreFew,
)
from verification.checkers.breaker_witnesses import BreakerNumbers
from verification.history import History, Outcome
from verification.selftest.checkers.breaker_model import Model

ONE = BreakerNumbers()
TWO = BreakerNumbers(workers=2)


def attempt(history: History, at_s: float, result: str = "failure", lasting_s: float = 0.1) -> None:
    history.add(
        process="openai",
        f="attempt",
        value={"result": result, "first_byte_s": at_s + lasting_s},
        outcome=Outcome.INFO if result == "unknown" else Outcome.OK,
        started_s=at_s,
        finished_s=at_s + lasting_s,
    )


def report(history: History, at_s: float, state: str) -> None:
    history.add(
        process="w",
        f="report",
        value={"state": state},
        outcome=Outcome.OK,
        started_s=at_s,
        finished_s=at_s + 0.01,
    )


def failing(history: History, n: int) -> None:
    for number in range(n):
        attempt(history, number * 0.2)


def opened(history: History) -> None:
    """Five failures in the first second, open by 1.5 s."""
    report(history, 0.0, "closed")
    failing(history, 5)
    report(history, 1.5, "open")


# Opening


@pytest.mark.parametrize(("failures", "valid"), [(4, False), (5, True)])
def test_it_opens_for_five_failures_and_for_nothing_less(failures: int, *, valid: bool) -> None:
    history = History()
    failing(history, failures)
    report(history, 2.0, "open")

    assert OpensAfterFailures(ONE)(history).valid is valid


def test_failures_that_no_window_holds_together_do_not_open_it() -> None:
    history = History()
    for number in range(5):
        attempt(history, number * 10.0)
    report(history, 50.0, "open")

    assert OpensAfterFailures(ONE)(history).valid is False


def test_an_attempt_of_unknown_result_may_have_been_the_fifth_failure() -> None:
    history = History()
    failing(history, 4)
    attempt(history, 1.0, "unknown")
    report(history, 2.0, "open")

    assert OpensAfterFailures(ONE)(history).valid is True


@pytest.mark.parametrize(
    ("numbers", "failures", "valid"),
    [(ONE, 5, False), (TWO, 8, None), (TWO, 9, False)],
    ids=["one-worker", "two-workers-may-have-four-each", "two-workers"],
)
def test_a_report_of_closed_after_enough_failures_is_a_breach(
    numbers: BreakerNumbers, failures: int, *, valid: bool | None
) -> None:
    history = History()
    failing(history, failures)
    report(history, 5.0, "closed")

    assert OpensAfterFailures(numbers)(history).valid is valid


def test_an_attempt_after_enough_failures_is_a_breach() -> None:
    history = History()
    failing(history, 5)
    attempt(history, 4.0)

    assert OpensAfterFailures(ONE)(history).valid is False


def test_a_success_among_the_failures_leaves_the_opening_open_to_doubt() -> None:
    history = History()
    failing(history, 5)
    attempt(history, 0.5, "success")
    report(history, 5.0, "closed")

    assert OpensAfterFailures(ONE)(history).valid is None


# Open


@pytest.mark.parametrize(
    ("arrives_s", "valid"),
    [(2.7, True), (2.8, False), (27.7, False), (27.9, True)],
    ids=["news-may-take-a-second", "late", "at-the-end", "it-may-be-half-open"],
)
def test_no_attempt_starts_once_the_news_of_open_is_out(arrives_s: float, *, valid: bool) -> None:
    history = History()
    opened(history)
    attempt(history, arrives_s)

    assert NoAttemptWhileOpen(ONE)(history).valid is valid


def test_the_control_ping_widens_the_bound() -> None:
    history = History()
    opened(history)
    attempt(history, 2.9)

    assert NoAttemptWhileOpen(BreakerNumbers(control_s=0.3))(history).valid is True


def test_a_breaker_that_never_opened_says_nothing_about_open() -> None:
    history = History()
    attempt(history, 0.0)
    report(history, 1.0, "closed")

    assert NoAttemptWhileOpen(ONE)(history).valid is None


# Half-open


@pytest.mark.parametrize(("probes", "valid"), [(3, True), (4, False)])
def test_at_most_three_probes_are_in_flight(probes: int, *, valid: bool) -> None:
    history = History()
    opened(history)
    for number in range(probes):
        attempt(history, 32.0 + number * 0.1, "success", lasting_s=2.0)

    assert ProbesAreFew(ONE)(history).valid is valid


def test_after_three_successes_attempts_are_no_probes() -> None:
    history = History()
    opened(history)
    for number in range(3):
        attempt(history, 32.0 + number * 0.1, "success", lasting_s=0.1)
    for number in range(6):
        attempt(history, 33.0 + number * 0.1, "success", lasting_s=2.0)

    assert ProbesAreFew(ONE)(history).valid is True


def test_without_probes_nothing_is_said_about_them() -> None:
    history = History()
    opened(history)

    assert ProbesAreFew(ONE)(history).valid is None


# Closing


@pytest.mark.parametrize(("successes", "valid"), [(2, False), (3, True)])
def test_three_successes_close_it_and_nothing_less(successes: int, *, valid: bool) -> None:
    history = History()
    opened(history)
    for number in range(successes):
        attempt(history, 32.0 + number * 0.2, "success")
    report(history, 36.0, "closed")

    assert ClosesAfterSuccesses(ONE)(history).valid is valid


@pytest.mark.parametrize(("told_s", "valid"), [(33.0, None), (35.0, False)])
def test_three_successes_do_close_it(told_s: float, *, valid: bool | None) -> None:
    history = History()
    opened(history)
    for number in range(3):
        attempt(history, 32.0 + number * 0.2, "success")
    report(history, told_s, "half_open")

    assert ClosesAfterSuccesses(ONE)(history).valid is valid


def test_a_failed_probe_keeps_it_open() -> None:
    history = History()
    opened(history)
    attempt(history, 32.0, "success")
    attempt(history, 32.2, "failure")
    attempt(history, 32.4, "success")
    report(history, 36.0, "open")

    assert ClosesAfterSuccesses(ONE)(history).valid is None


def test_old_news_of_closed_is_no_closing() -> None:
    history = History()
    opened(history)
    report(history, 1.8, "closed")

    assert ClosesAfterSuccesses(ONE)(history).valid is None


def test_an_empty_history_says_nothing() -> None:
    assert KeepsToTheBreakerPath(ONE)(History()).valid is None


# Simulated

SHORT: dict[str, Any] = {"open_s": 4.0, "window_s": 10.0}


def simulated(seed: int, workers: int, **wrong: Any) -> tuple[BreakerNumbers, History]:
    numbers = BreakerNumbers(workers=workers, **SHORT)
    model = Model(numbers, random.Random(seed), **wrong)  # noqa: S311  a simulation
    return numbers, model.run(failing_until_s=7.0, ends_s=25.0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 4))
def test_a_right_breaker_is_never_accused(seed: int, workers: int) -> None:
    numbers, history = simulated(seed, workers)

    verdict = KeepsToTheBreakerPath(numbers)(history)

    assert verdict.valid is not False, str(verdict)


def test_a_right_breaker_is_shown_to_be_right() -> None:
    said = [KeepsToTheBreakerPath(numbers)(h).valid for numbers, h in runs(workers=1)]

    assert said.count(True) >= len(said) // 2


def runs(workers: int, **wrong: Any) -> list[tuple[BreakerNumbers, History]]:
    return [simulated(seed, workers, **wrong) for seed in range(10)]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"opens_at": 3}, id="opens-too-early"),
        pytest.param({"opens_at": 10**6}, id="never-opens"),
        pytest.param({"opens_at": 12}, id="opens-too-late"),
        pytest.param({"ignores_open": True}, id="lets-attempts-through"),
        pytest.param({"open_s": 1.9}, id="open-for-too-short"),
        pytest.param({"probes": 20}, id="too-many-probes"),
        pytest.param({"closes_at": 1}, id="closes-after-one"),
        pytest.param({"closes_at": 10**6}, id="never-closes"),
    ],
)
def test_a_wrong_breaker_is_accused(wrong: dict[str, Any]) -> None:
    said = [KeepsToTheBreakerPath(numbers)(h).valid for numbers, h in runs(1, **wrong)]

    assert False in said, said
