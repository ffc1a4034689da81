"""Trying again: what is worth it, after how long, and when the budget says no."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmhive.app.orchestration.ports import ProviderError
from llmhive.app.orchestration.retries import (
    ADVICE,
    RETRY_AFTER_MAX_S,
    AttemptEnd,
    BreakerReport,
    RetryBudget,
    RetryConfig,
    advise,
    backoff_s,
    end_of_status,
    retry_after_s,
)

CONFIG = RetryConfig()
NOW_S = 1_790_000_000.0


@given(retry=st.integers(1, 10_000), draw=st.floats(0, 1, exclude_max=True))
def test_a_wait_lies_between_nothing_and_its_doubled_ceiling(retry: int, draw: float) -> None:
    ceiling_s = min(8.0, 0.5 * 2 ** min(retry - 1, 40))

    assert 0 <= backoff_s(retry, draw, CONFIG) <= ceiling_s


def test_the_whole_range_is_drawn_from() -> None:
    waits = [backoff_s(2, tenths / 10, CONFIG) for tenths in range(10)]

    assert waits == pytest.approx([tenths / 10 for tenths in range(10)], abs=1e-9)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        pytest.param({"retry-after": "3"}, 3.0, id="seconds"),
        pytest.param({"retry-after": " 1.5 "}, 1.5, id="fraction"),
        pytest.param({"retry-after-ms": "250"}, 0.25, id="milliseconds"),
        pytest.param({"retry-after-ms": "250", "retry-after": "9"}, 0.25, id="ms-wins"),
        pytest.param({"retry-after-ms": "x", "retry-after": "9"}, 9.0, id="bad-ms-yields"),
        pytest.param({"retry-after": formatdate(NOW_S + 7, usegmt=True)}, 7.0, id="date"),
        pytest.param({"retry-after": formatdate(NOW_S - 7, usegmt=True)}, 0.0, id="past-date"),
        pytest.param({"retry-after": "86400"}, RETRY_AFTER_MAX_S, id="a-day"),
        pytest.param({"retry-after": "9" * 60}, RETRY_AFTER_MAX_S, id="astronomical"),
    ],
)
def test_a_wait_is_read_in_every_legal_form(headers: dict[str, str], wait_s: float) -> None:
    assert retry_after_s(headers, now_wall_s=NOW_S) == pytest.approx(wait_s, abs=0.001)


def test_a_date_is_read_against_the_providers_own_clock() -> None:
    headers = {
        "date": formatdate(NOW_S - 3600, usegmt=True),
        "retry-after": formatdate(NOW_S - 3590, usegmt=True),
    }

    assert retry_after_s(headers, now_wall_s=NOW_S) == pytest.approx(10.0, abs=0.001)


@pytest.mark.parametrize(
    "value",
    [
        *["", "-1", "abc", "nan", "inf", "1e9", "1_000", "+3", "٣", "9" * 5000],
        *["Mon, 99 Foo 2026 99:99:99 GMT", "Fri, 31 Dec 999999999 23:59:59 GMT"],
    ],
)
def test_nonsense_is_as_good_as_no_header(value: str) -> None:
    assert retry_after_s({"retry-after": value}, now_wall_s=NOW_S) is None


@given(value=st.text(max_size=80))
def test_no_header_at_all_can_break_the_reading(value: str) -> None:
    wait_s = retry_after_s({"retry-after": value, "date": value}, now_wall_s=NOW_S)

    assert wait_s is None or 0 <= wait_s <= RETRY_AFTER_MAX_S


@pytest.mark.parametrize(
    ("status", "end"),
    [
        (400, AttemptEnd.REQUEST_REFUSED),
        (401, AttemptEnd.CREDENTIAL_REFUSED),
        (402, AttemptEnd.QUOTA_EXHAUSTED),
        (403, AttemptEnd.CREDENTIAL_REFUSED),
        (404, AttemptEnd.REQUEST_REFUSED),
        (408, AttemptEnd.REQUEST_TIMEOUT),
        (409, AttemptEnd.CONFLICT),
        (413, AttemptEnd.REQUEST_REFUSED),
        (422, AttemptEnd.REQUEST_REFUSED),
        (429, AttemptEnd.RATE_LIMITED),
        (500, AttemptEnd.SERVER_ERROR),
        (503, AttemptEnd.SERVER_ERROR),
        (529, AttemptEnd.SERVER_ERROR),
        (302, AttemptEnd.UNREADABLE),
    ],
)
def test_a_status_has_one_meaning(status: int, end: AttemptEnd) -> None:
    assert end_of_status(status) is end


def test_of_4xx_only_408_and_409_are_tried_again_where_they_happened() -> None:
    retried = [code for code in range(400, 500) if ADVICE[end_of_status(code)].retries_here]

    assert retried == [408, 409]


@pytest.mark.parametrize("end", [AttemptEnd.TIMED_OUT, AttemptEnd.CONNECT_TIMED_OUT])
def test_a_timed_out_attempt_goes_to_the_next_provider_only(end: AttemptEnd) -> None:
    advice = advise(end, is_delivered=False)

    assert (advice.retries_here, advice.tries_next) == (False, True)


@pytest.mark.parametrize("end", list(AttemptEnd))
def test_nothing_is_tried_again_once_a_byte_was_delivered(end: AttemptEnd) -> None:
    advice = advise(end, is_delivered=True)

    assert not advice.retries_here
    assert not advice.tries_next
    assert advice.report is ADVICE[end].report


def test_only_the_providers_own_faults_count_against_it() -> None:
    counted = {end for end in AttemptEnd if ADVICE[end].report is BreakerReport.FAILURE}

    assert counted == {
        AttemptEnd.CONNECTION_LOST,
        AttemptEnd.TIMED_OUT,
        AttemptEnd.REQUEST_TIMEOUT,
        AttemptEnd.SERVER_ERROR,
        AttemptEnd.INCOMPLETE,
        AttemptEnd.UNREADABLE,
    }


def test_who_was_not_reached_counts_for_its_parent_and_did_nothing() -> None:
    counted = {end for end in AttemptEnd if ADVICE[end].report is BreakerReport.CONNECT_FAILURE}

    assert counted == {end for end in AttemptEnd if ProviderError(end).definite}
    assert counted == {AttemptEnd.CONNECT_FAILED, AttemptEnd.CONNECT_TIMED_OUT}


def test_a_fresh_budget_allows_ten_retries_without_traffic() -> None:
    budget = RetryBudget(CONFIG)

    assert [budget.spend() for _ in range(12)] == [True] * 10 + [False] * 2


@given(first_attempts=st.integers(0, 500))
def test_a_storm_retries_a_fifth_of_its_first_attempts_and_no_more(first_attempts: int) -> None:
    budget = RetryBudget(CONFIG)

    spent = 0
    for _ in range(first_attempts):
        budget.earn()
        spent += budget.spend() + budget.spend()

    assert spent <= 10 + 0.2 * first_attempts


def test_quiet_traffic_saves_up_no_more_than_a_fresh_budget() -> None:
    budget = RetryBudget(CONFIG)

    for _ in range(1000):
        budget.earn()

    assert budget.tokens == pytest.approx(10.0, abs=1e-9)
