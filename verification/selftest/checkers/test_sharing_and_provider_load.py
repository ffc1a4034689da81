"""Back to shared limits in time or not; a failing provider left alone or not."""

from __future__ import annotations

import pytest

from verification.checkers.availability import AnswersAsPromised
from verification.checkers.narrowed import Only
from verification.checkers.provider_load import ProviderIsLeftAlone
from verification.checkers.sharing import SharedAgainWithin
from verification.history import History
from verification.selftest.checkers.broken_histories import (
    HEALED_S,
    broken,
    call,
    chat,
    control,
    refused,
)

LEFT_ALONE = ProviderIsLeftAlone(provider="openai", workers=2, callers=4, open_s=4.0, at_least=30)


def outage() -> History:
    """An outage in which a worker decided alone, with a control of 0.2 s."""
    history = History()
    broken(history)
    control(history, 12.0, 0.2)
    chat(history, 15.0, is_degraded=True)
    return history


@pytest.mark.parametrize(("late_s", "valid"), [(1.19, None), (1.21, False)])
def test_a_worker_may_decide_alone_until_the_bound_and_the_slowest_control(
    late_s: float, valid: object
) -> None:
    history = outage()
    chat(history, HEALED_S + late_s, is_degraded=True)

    assert SharedAgainWithin(1.0)(history).valid is valid


@pytest.mark.parametrize(("alone", "valid"), [(2, True), (3, False)])
def test_a_worker_is_accused_by_most_of_its_answers(alone: int, valid: object) -> None:
    history = outage()
    for number in range(5):
        chat(history, 22.0 + number / 10, is_degraded=number < alone)
        chat(history, 22.0 + number / 10, is_degraded=False, served_by="w2")

    assert SharedAgainWithin(1.0)(history).valid is valid


def test_an_outage_that_no_worker_noticed_says_nothing_about_coming_back() -> None:
    history = History()
    broken(history)
    chat(history, 15.0, is_degraded=False)
    chat(history, 25.0, is_degraded=False)

    assert SharedAgainWithin(1.0)(history).valid is None


def asked(calls: int, chats: int = 40, well: int = 0) -> History:
    """So many calls while it fails, within 8 s, after so many that went well."""
    history = History()
    broken(history)
    for _ in range(well):
        call(history, None, 9.0, 9.1)
    for _ in range(calls):
        call(history, None, 12.0, 12.1)
    for _ in range(chats):
        chat(history, 13.0)
    return history


def test_a_provider_is_asked_to_open_its_breakers_while_under_way_and_by_probes() -> None:
    # 4 * 2 + 1 failures, 4 under way, and two rests of 3.6 s with 3 probes of 2 workers each.
    assert LEFT_ALONE(asked(9 + 4 + 12)).valid is True
    assert LEFT_ALONE(asked(9 + 4 + 13)).valid is False


def test_what_went_well_before_has_to_be_outweighed_first() -> None:
    assert LEFT_ALONE(asked(20 + 2 + 4 + 12, well=20)).valid is True
    assert LEFT_ALONE(asked(20 + 2 + 4 + 13, well=20)).valid is False


def test_too_few_chats_tell_no_breaker_from_none() -> None:
    assert LEFT_ALONE(asked(5, chats=29)).valid is None


def test_calls_before_the_bite_and_of_other_providers_do_not_count() -> None:
    history = asked(9)
    for _ in range(50):
        call(history, None, 12.0, 12.1, provider="anthropic")

    assert LEFT_ALONE(history).valid is True


def test_a_narrowed_checker_looks_at_some_chats_only() -> None:
    history = History()
    broken(history)
    refused(history, 15.0, "internal_error")
    chat(history, 15.0, tier="free")

    narrowed = Only(AnswersAsPromised(), tier="free")(history)

    assert (AnswersAsPromised()(history).valid, narrowed.valid) == (False, True)
