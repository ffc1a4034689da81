"""The rolling window's checkers, on both sides of each bound, and against a slow oracle."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from verification.checkers.rate_window import (
    AdmitsAtMost,
    KeepsTheWindow,
    RefusesOnlyWhenFull,
    RetryAfterIsHonest,
)
from verification.history import History
from verification.selftest.checkers.histories import admitted, failed, fault, lost, refused

LIMIT, WINDOW_S = 3, 60.0
SPAN_S = 61.0  # a window and its oldest bucket


def at_most(history: History, **more: float) -> bool | None:
    return AdmitsAtMost(LIMIT, WINDOW_S, **more)(history).valid  # type: ignore[arg-type]  # numbers


def wrongly(history: History) -> bool | None:
    return RefusesOnlyWhenFull(LIMIT, WINDOW_S)(history).valid


def burst(history: History, *starts_s: float, lasting_s: float = 0.0) -> None:
    for start_s in starts_s:
        admitted(history, start_s, start_s + lasting_s)


# Never above


def test_one_more_than_the_limit_within_a_window_is_above() -> None:
    history = History()
    burst(history, 0.0, 20.0, 40.0, 59.999)

    verdict = AdmitsAtMost(LIMIT, WINDOW_S)(history)

    assert verdict.valid is False
    assert [operation.index for operation in verdict.witness] == [0, 1, 2, 3]


def test_one_more_than_the_limit_over_exactly_a_window_is_not_above() -> None:
    history = History()
    burst(history, 0.0, 20.0, 40.0, 60.0)
    refused(history, 41.0)

    assert at_most(history) is True


def test_a_request_that_may_have_counted_before_the_window_proves_nothing() -> None:
    history = History()
    admitted(history, -1.0, 1.0)
    burst(history, 20.0, 40.0, 59.5)
    refused(history, 41.0)

    assert at_most(history) is True


def test_each_user_has_a_window_of_their_own() -> None:
    history = History()
    for user in ("a", "b"):
        for start_s in (0.0, 1.0, 2.0):
            admitted(history, start_s, user=user)
        refused(history, 3.0, user=user)

    assert at_most(history) is True


def test_the_burst_over_the_edge_of_two_fixed_windows_is_above() -> None:
    history = History()
    burst(history, 59.0, 59.1, 59.2, 60.1, 60.2, 60.3)

    assert at_most(history) is False


@pytest.mark.parametrize("record", [lost, failed])
def test_a_request_of_unknown_fate_accuses_nobody_of_admitting_it(
    record: Callable[[History, float, float], None],
) -> None:
    history = History()
    burst(history, 0.0, 1.0, 2.0)
    record(history, 3.0, 4.0)
    refused(history, 5.0)

    assert at_most(history) is True


def test_a_limit_that_was_never_reached_says_nothing() -> None:
    history = History()
    burst(history, 0.0, 1.0)

    assert at_most(history) is None


def test_an_empty_history_says_nothing() -> None:
    assert KeepsTheWindow(LIMIT, WINDOW_S)(History()).valid is None


def test_decisions_made_without_redis_leave_exactness_unknown() -> None:
    history = History()
    burst(history, 0.0, 1.0, 2.0, 3.0)

    assert at_most(history, local_decisions=1) is None


@pytest.mark.parametrize(
    ("kind", "workers", "allowed"),
    [
        ("redis_away", 2, 3 + 2 * 2),
        ("redis_away", 1, 3 + 3),
        ("redis_emptied", 2, 3 + 3),
        ("clock_stepped", 2, 3 + 3),
    ],
)
@pytest.mark.parametrize("above", [0, 1])
def test_a_fault_costs_what_the_bounds_say_and_no_more(
    kind: str, workers: int, allowed: int, above: int
) -> None:
    history = History()
    fault(history, kind, 10.0, 11.0)
    burst(history, 9.0, 9.1, 9.2)
    burst(history, *(10.1 + number * 0.1 for number in range(allowed - LIMIT + above)))
    refused(history, 20.0)

    assert at_most(history, workers=workers) is (above == 0)


def test_a_window_that_ends_before_the_fault_is_judged_without_it() -> None:
    history = History()
    burst(history, 1.0, 2.0, 3.0, 4.0)
    fault(history, "redis_away", 30.0, 31.0)

    assert at_most(history) is False


def test_the_shared_limit_may_take_a_second_to_come_back() -> None:
    history = History()
    fault(history, "redis_away", 0.0, 1.0)
    burst(history, 1.5, 1.6, 1.7, 1.9, 2.1, 2.2)
    refused(history, 3.0)

    assert at_most(history) is True


# Never wrongly refused


def test_a_refusal_while_the_limit_fits_is_just() -> None:
    history = History()
    burst(history, 0.0, 1.0, 2.0)
    refused(history, 50.0)

    assert wrongly(history) is True


@pytest.mark.parametrize(("moment_s", "valid"), [(0.0 + SPAN_S, True), (0.001 + SPAN_S, False)])
def test_a_refusal_is_wrong_once_the_oldest_is_a_window_and_a_bucket_old(
    moment_s: float, *, valid: bool
) -> None:
    history = History()
    burst(history, 0.0, 1.0, 2.0)
    refused(history, moment_s)

    assert wrongly(history) is valid


def test_a_refusal_below_the_limit_is_wrong_and_is_its_own_witness() -> None:
    history = History()
    burst(history, 0.0, 1.0)
    refused(history, 2.0)

    verdict = RefusesOnlyWhenFull(LIMIT, WINDOW_S)(history)

    assert verdict.valid is False
    assert [operation.index for operation in verdict.witness] == [2]


def test_a_request_that_overlaps_the_refused_one_may_have_come_first() -> None:
    history = History()
    burst(history, 0.0, 1.0)
    refused(history, 2.0, 4.0)
    admitted(history, 3.0, 5.0)

    assert wrongly(history) is True


def test_a_request_that_began_after_the_refusal_did_not_come_first() -> None:
    history = History()
    burst(history, 0.0, 1.0)
    refused(history, 2.0, 4.0)
    admitted(history, 4.5, 5.0)

    assert wrongly(history) is False


def test_a_request_without_an_answer_may_count_at_any_later_time() -> None:
    history = History()
    lost(history, 0.0, 1.0)
    burst(history, 200.0, 201.0)
    refused(history, 202.0)

    assert wrongly(history) is True


def test_a_request_that_was_answered_counted_before_its_answer() -> None:
    history = History()
    failed(history, 0.0, 1.0)
    burst(history, 200.0, 201.0)
    refused(history, 202.0)

    assert wrongly(history) is False


def test_a_refusal_by_another_limit_says_nothing_about_the_window() -> None:
    history = History()
    refused(history, 2.0, code="too_many_in_flight")

    assert wrongly(history) is None


def test_a_refusal_near_a_fault_is_not_judged() -> None:
    history = History()
    fault(history, "redis_away", 0.0, 1.0)
    refused(history, 50.0)

    assert wrongly(history) is None


@pytest.mark.parametrize(("moment_s", "valid"), [(119.0, None), (121.0, False)])
def test_a_step_of_the_clock_excuses_refusals_for_two_windows(
    moment_s: float, *, valid: bool | None
) -> None:
    history = History()
    fault(history, "clock_stepped", 0.0, 0.5)
    refused(history, moment_s)

    assert wrongly(history) is valid


def test_a_fault_that_nobody_knows_leaves_the_verdict_unknown() -> None:
    history = History()
    burst(history, 0.0, 1.0, 2.0, 3.0)
    fault(history, "gremlins", 0.0, 1.0)

    assert at_most(history) is None


# Retry-After


def admitted_later(history: History) -> None:
    admitted(history, 15.2, 15.3)


def refused_later(history: History) -> None:
    refused(history, 15.2, 15.3, retry_after_s=5)


@pytest.mark.parametrize(("then", "valid"), [(admitted_later, True), (refused_later, False)])
def test_a_lone_caller_that_waited_is_admitted(
    then: Callable[[History], None], *, valid: bool
) -> None:
    history = History()
    refused(history, 10.0, 10.1, retry_after_s=5)
    then(history)

    assert RetryAfterIsHonest(WINDOW_S)(history).valid is valid


def test_a_caller_that_did_not_wait_long_enough_proves_nothing() -> None:
    history = History()
    refused(history, 10.0, 10.1, retry_after_s=5)
    refused(history, 15.0, 15.05, retry_after_s=5)

    assert RetryAfterIsHonest(WINDOW_S)(history).valid is None


def test_a_caller_that_was_not_alone_proves_nothing() -> None:
    history = History()
    refused(history, 10.0, 10.1, retry_after_s=5)
    admitted(history, 12.0, 12.1)
    refused(history, 15.2, 15.3, retry_after_s=5)

    assert RetryAfterIsHonest(WINDOW_S)(history).valid is None


@pytest.mark.parametrize(("wait_s", "valid"), [(61, None), (62, False), (0, False), (None, False)])
def test_retry_after_says_no_more_than_a_window_and_a_bucket(
    wait_s: float | None, *, valid: bool | None
) -> None:
    history = History()
    refused(history, 10.0, retry_after_s=wait_s)

    assert RetryAfterIsHonest(WINDOW_S)(history).valid is valid


@pytest.mark.parametrize(("wait_s", "valid"), [(52, True), (53, False)])
def test_retry_after_says_no_more_than_until_the_oldest_that_matters_has_left(
    wait_s: float, *, valid: bool
) -> None:
    history = History()
    burst(history, 0.0, 1.0, 2.0, 9.0)
    refused(history, 11.0, retry_after_s=wait_s)
    admitted(history, 70.0)

    # Three are allowed: room comes when the second one leaves, at 1 + 61 = 62, so in 51 s.
    assert RetryAfterIsHonest(WINDOW_S, limit=LIMIT)(history).valid is valid


def test_a_wait_for_tokens_is_judged_when_asked_for() -> None:
    history = History()
    refused(history, 10.0, 10.1, retry_after_s=5, code="tokens_limited")
    refused(history, 15.2, 15.3, retry_after_s=5, code="tokens_limited")

    tokens = frozenset({"tokens_limited"})
    assert RetryAfterIsHonest(WINDOW_S)(history).valid is None
    assert RetryAfterIsHonest(WINDOW_S, codes=tokens)(history).valid is False
