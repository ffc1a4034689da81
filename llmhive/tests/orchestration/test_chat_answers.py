"""A plain chat request: what is tried, what is told, and what is given back."""

from __future__ import annotations

import asyncio

import pytest

from llmhive.app.orchestration.attempts import NoProviderError, RequestRefusedError
from llmhive.app.orchestration.chat import LimitExceededError
from llmhive.app.orchestration.context import WallClockExhaustedError
from llmhive.app.orchestration.model import (
    ChatConfig,
    ChatRequest,
    Completion,
    FinishReason,
    Usage,
)
from llmhive.app.orchestration.retries import AttemptEnd, RetryConfig
from llmhive.tests.orchestration.chat_parts import (
    ASK,
    GOOD,
    HANG,
    USAGE,
    Ada,
    After,
    Scene,
    ScriptedProvider,
    Step,
    failure,
)
from llmhive.tests.orchestration.virtual_time import elapsed_s, in_virtual_time, wait

BROKEN = failure(AttemptEnd.SERVER_ERROR)


def two(first: list[Step], second: list[Step]) -> tuple[ScriptedProvider, ScriptedProvider]:
    return (
        ScriptedProvider(steps=first),
        ScriptedProvider("anthropic", "claude", steps=second),
    )


@in_virtual_time
async def test_an_answer_says_who_gave_it_and_what_it_cost() -> None:
    scene = Scene([ScriptedProvider(steps=[GOOD])])

    answer = await scene.chat.answer(ASK, Ada(), scene.context())

    assert (answer.reply, answer.provider, answer.model) == ("hello", "openai", "gpt-4o")
    assert (answer.usage, answer.is_partial, answer.request_id) == (USAGE, False, "req_1")
    assert scene.observer.usages == [USAGE]


@in_virtual_time
async def test_what_was_used_is_charged_instead_of_what_was_reserved() -> None:
    scene = Scene([ScriptedProvider(steps=[GOOD])])

    await scene.chat.answer(ASK, Ada(), scene.context())

    assert scene.limiter.reserved == [3 + 256]
    assert scene.limiter.settled == [12]
    assert scene.breakers.reports == ["success"]


@in_virtual_time
async def test_usage_that_was_not_told_is_estimated() -> None:
    told_nothing = Completion("x" * 400, FinishReason.STOP, None)
    scene = Scene([ScriptedProvider(steps=[told_nothing])])

    answer = await scene.chat.answer(ASK, Ada(), scene.context())

    assert answer.usage == Usage(3, 101)


@in_virtual_time
async def test_an_answer_that_was_cut_short_is_called_partial() -> None:
    scene = Scene([ScriptedProvider(steps=[Completion("he", FinishReason.LENGTH, USAGE)])])

    answer = await scene.chat.answer(ASK, Ada(), scene.context())

    assert (answer.is_partial, answer.finish_reason) == (True, "length")


@pytest.mark.parametrize(
    ("refused_by", "code"),
    [
        ("requests", "rate_limited"),
        ("tokens", "tokens_limited"),
        ("in_flight", "too_many_in_flight"),
    ],
)
@in_virtual_time
async def test_a_refusal_names_its_limit_and_calls_nobody(refused_by: str, code: str) -> None:
    scene = Scene([ScriptedProvider()])
    scene.limiter.refused_by = refused_by
    context = scene.context()

    with pytest.raises(LimitExceededError) as refusal:
        await scene.chat.answer(ASK, Ada(), context)

    assert (refusal.value.code, refusal.value.http_status) == (code, 429)
    assert refusal.value.retry_after_s == 9
    assert context.limit_headers == [(b"ratelimit", b'"requests";r=1;t=1')]


# -- trying again


@in_virtual_time
async def test_a_broken_provider_is_tried_three_times_then_the_next_one() -> None:
    first, second = two([BROKEN, BROKEN, BROKEN], [GOOD])
    scene = Scene([first, second])

    answer = await scene.chat.answer(ASK, Ada(), scene.context())

    assert (answer.provider, len(first.called_at), len(second.called_at)) == ("anthropic", 3, 1)
    assert scene.breakers.reports == ["fail:server_error"] * 3 + ["success"]
    assert (scene.observer.retries, scene.observer.fallbacks) == (["openai"] * 2, ["anthropic"])


@in_virtual_time
async def test_waits_between_tries_double_under_the_drawn_share() -> None:
    provider = ScriptedProvider(steps=[BROKEN, BROKEN, GOOD])
    scene = Scene([provider], draw=0.5)

    await scene.chat.answer(ASK, Ada(), scene.context())

    start = provider.called_at[0]
    assert [at - start for at in provider.called_at] == pytest.approx([0, 0.25, 0.75], abs=1e-6)


@in_virtual_time
async def test_a_provider_that_asks_for_longer_than_the_cap_is_left_for_the_next() -> None:
    first, second = two([failure(AttemptEnd.SERVER_ERROR, wait_s=20)], [GOOD])
    scene = Scene([first, second])

    took_s = await elapsed_s(scene.chat.answer(ASK, Ada(), scene.context()))

    assert took_s == pytest.approx(0, abs=1e-6)


@in_virtual_time
async def test_a_timed_out_attempt_is_repeated_only_elsewhere() -> None:
    first, second = two([HANG], [GOOD])
    scene = Scene([first, second])

    took_s = await elapsed_s(scene.chat.answer(ASK, Ada(), scene.context()))

    assert took_s == pytest.approx(30, abs=1e-6)
    assert scene.breakers.reports == ["fail:timed_out", "success"]
    assert first.hung_up == 1


@pytest.mark.parametrize("end", [AttemptEnd.CREDENTIAL_REFUSED, AttemptEnd.QUOTA_EXHAUSTED])
@in_virtual_time
async def test_a_provider_that_refuses_us_is_asked_once(end: AttemptEnd) -> None:
    first, second = two([failure(end)], [GOOD])
    scene = Scene([first, second])

    answer = await scene.chat.answer(ASK, Ada(), scene.context())

    assert (answer.provider, len(first.called_at)) == ("anthropic", 1)


@in_virtual_time
async def test_a_request_that_is_malformed_is_asked_nowhere_else() -> None:
    first, second = two([failure(AttemptEnd.REQUEST_REFUSED)], [])
    scene = Scene([first, second])

    with pytest.raises(RequestRefusedError) as refusal:
        await scene.chat.answer(ASK, Ada(), scene.context())

    assert (refusal.value.http_status, refusal.value.code) == (422, "invalid_request")
    assert scene.breakers.reports == ["neutral"]
    assert scene.limiter.settled == [0]


@pytest.mark.parametrize("end", [AttemptEnd.CONNECT_FAILED, AttemptEnd.CONNECT_TIMED_OUT])
@in_virtual_time
async def test_a_provider_that_was_not_reached_counts_for_its_parent_too(end: AttemptEnd) -> None:
    first, second = two([failure(end)] * 3, [GOOD])
    scene = Scene([first, second])

    await scene.chat.answer(ASK, Ada(), scene.context())

    assert scene.breakers.reports[0] == f"fail:{end}:connect"


@in_virtual_time
async def test_a_storm_of_failures_runs_out_of_retries() -> None:
    config = ChatConfig(retry=RetryConfig(budget_start=1, budget_ratio=0))
    provider = ScriptedProvider(steps=[BROKEN] * 4)
    scene = Scene([provider], config=config)

    await _refused(scene)
    await _refused(scene)
    await _refused(scene)

    assert len(provider.called_at) == 3 + 1


@in_virtual_time
async def test_a_retry_that_a_breaker_refuses_costs_nothing() -> None:
    config = ChatConfig(retry=RetryConfig(attempts=2, budget_start=1, budget_ratio=0))
    provider = ScriptedProvider(steps=[After(1, BROKEN), BROKEN, GOOD])
    scene = Scene([provider], config=config)

    refused = asyncio.create_task(_refused(scene))
    await wait(0.5)
    scene.breakers.open_for = {"openai:0": 30.0}
    await refused
    scene.breakers.open_for = {}
    answer = await scene.chat.answer(ASK, Ada(), scene.context())

    assert answer.reply == "hello"
    assert scene.observer.retries == ["openai"]


@in_virtual_time
async def test_of_two_that_want_the_last_retry_one_gives_its_permit_back() -> None:
    config = ChatConfig(retry=RetryConfig(attempts=2, budget_start=1, budget_ratio=0))
    provider = ScriptedProvider(steps=[BROKEN] * 3)
    scene = Scene(
        [
            provider,
        ],
        config=config,
    )
    scene.breakers.asked_s = 1.0

    await asyncio.gather(_refused(scene), _refused(scene))

    assert len(provider.called_at) == 3
    assert sorted(map(str, scene.breakers.reports)) == ["fail:server_error"] * 3 + ["neutral"]


@in_virtual_time
async def test_the_named_model_is_asked_first() -> None:
    first, second = two([], [GOOD])
    scene = Scene([first, second])

    answer = await scene.chat.answer(ChatRequest("hi", model="claude"), Ada(), scene.context())

    assert (answer.model, scene.observer.fallbacks) == ("claude", [])


# -- rate limits of providers


@in_virtual_time
async def test_after_a_rate_limit_the_next_provider_is_tried_at_once() -> None:
    first, second = two([failure(AttemptEnd.RATE_LIMITED, wait_s=3)], [GOOD])
    scene = Scene([first, second])

    took_s = await elapsed_s(scene.chat.answer(ASK, Ada(), scene.context()))

    assert took_s == pytest.approx(0, abs=1e-6)
    assert scene.breakers.reports == ["cool_down:3", "success"]


@in_virtual_time
async def test_with_no_other_provider_the_asked_time_is_waited() -> None:
    provider = ScriptedProvider(steps=[failure(AttemptEnd.RATE_LIMITED, wait_s=3), GOOD])
    scene = Scene([provider], draw=0.5)

    await scene.chat.answer(ASK, Ada(), scene.context())

    waited_s = provider.called_at[1] - provider.called_at[0]
    assert 3 <= waited_s <= 3.5


@in_virtual_time
async def test_a_later_request_waits_for_the_resting_credential_too() -> None:
    provider = ScriptedProvider(steps=[GOOD])
    scene = Scene([provider])
    scene.breakers.rests_until["openai:0"] = asyncio.get_running_loop().time() + 4

    took_s = await elapsed_s(scene.chat.answer(ASK, Ada(), scene.context()))

    assert took_s == pytest.approx(4, abs=0.01)


@in_virtual_time
async def test_a_rate_limit_beyond_the_deadline_is_not_waited_for() -> None:
    provider = ScriptedProvider(steps=[failure(AttemptEnd.RATE_LIMITED, wait_s=200)])
    scene = Scene([provider])

    with pytest.raises(NoProviderError) as refusal:
        await scene.chat.answer(ASK, Ada(), scene.context())

    assert refusal.value.retry_after_s == 200
    assert len(provider.called_at) == 1


@in_virtual_time
async def test_rate_limits_are_answered_by_three_attempts_at_most() -> None:
    provider = ScriptedProvider(steps=[failure(AttemptEnd.RATE_LIMITED, wait_s=1)] * 3)
    scene = Scene([provider])

    with pytest.raises(NoProviderError):
        await scene.chat.answer(ASK, Ada(), scene.context())

    assert len(provider.called_at) == 3


@in_virtual_time
async def test_an_empty_purse_rests_the_credential_for_an_hour() -> None:
    first, second = two([failure(AttemptEnd.QUOTA_EXHAUSTED, wait_s=1)], [GOOD])
    scene = Scene([first, second])

    await scene.chat.answer(ASK, Ada(), scene.context())

    assert scene.breakers.reports[0] == "cool_down:3600"


# -- nobody answers


@in_virtual_time
async def test_open_breakers_make_a_503_that_says_when_the_first_may_close() -> None:
    first, second = two([], [])
    scene = Scene([first, second])
    scene.breakers.open_for = {"openai:0": 21.5, "anthropic:0": 12.2}

    with pytest.raises(NoProviderError) as refusal:
        await scene.chat.answer(ASK, Ada(), scene.context())

    assert (refusal.value.http_status, refusal.value.retry_after_s) == (503, 13)
    assert scene.limiter.settled == [0]


@in_virtual_time
async def test_failures_everywhere_make_a_503_with_a_wait() -> None:
    first, second = two([BROKEN] * 3, [BROKEN] * 3)
    scene = Scene([first, second])

    with pytest.raises(NoProviderError) as refusal:
        await scene.chat.answer(ASK, Ada(), scene.context())

    assert (refusal.value.code, refusal.value.retry_after_s) == ("no_provider_available", 5)
    assert scene.limiter.settled == [0]


@in_virtual_time
async def test_no_wait_goes_beyond_the_deadline() -> None:
    provider = ScriptedProvider(steps=[BROKEN])
    scene = Scene([provider], draw=0.9, wall_clock_s=0.4)

    took_s = await elapsed_s(_refused(scene))

    assert took_s < 0.4
    assert len(provider.called_at) == 1


async def _refused(scene: Scene) -> None:
    with pytest.raises((NoProviderError, WallClockExhaustedError)):
        await scene.chat.answer(ASK, Ada(), scene.context())


@in_virtual_time
async def test_no_attempt_starts_after_the_deadline() -> None:
    first, second = two([HANG], [])
    scene = Scene([first, second], wall_clock_s=30)

    with pytest.raises(WallClockExhaustedError):
        await scene.chat.answer(ASK, Ada(), scene.context())

    assert second.called_at == []


# -- ended from outside


@pytest.mark.parametrize(
    ("steps", "reports"),
    [
        pytest.param([HANG], ["neutral"], id="in-a-call"),
        pytest.param([BROKEN], ["fail:server_error"], id="in-a-backoff"),
        pytest.param(
            [failure(AttemptEnd.RATE_LIMITED, wait_s=60)], ["cool_down:60"], id="in-a-rest"
        ),
    ],
)
@in_virtual_time
async def test_a_caller_that_leaves_gives_everything_back(
    steps: list[Step], reports: list[str]
) -> None:
    scene = Scene([ScriptedProvider(steps=list(steps))], draw=0.9)
    context = scene.context(leaves_after_s=0.3)

    took_s = await elapsed_s(_left(scene, context))

    assert took_s == pytest.approx(0.3, abs=0.01)
    assert scene.breakers.reports == reports
    assert scene.limiter.settled == [0]


async def _left(scene: Scene, context: object) -> None:
    with pytest.raises(asyncio.CancelledError):
        await scene.chat.answer(ASK, Ada(), context)  # type: ignore[arg-type]  # a context
    assert context.caller.absorb()  # type: ignore[attr-defined]  # see above


@in_virtual_time
async def test_the_requests_own_time_says_nothing_about_the_provider() -> None:
    provider = ScriptedProvider(steps=[HANG])
    scene = Scene([provider], wall_clock_s=20)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(20):
            await scene.chat.answer(ASK, Ada(), scene.context())

    assert scene.breakers.reports == ["neutral"]
    assert (scene.limiter.settled, provider.hung_up) == ([0], 1)


@in_virtual_time
async def test_a_caller_that_leaves_during_the_settlement_does_not_cut_it_off() -> None:
    scene = Scene([ScriptedProvider(steps=[After(1, GOOD)])])
    scene.limiter.settle_takes_s = 1

    answer = await scene.chat.answer(ASK, Ada(), scene.context(leaves_after_s=1.5))

    assert answer.reply == "hello"
    assert scene.limiter.settled == [12]


@in_virtual_time
async def test_a_settlement_that_is_cut_off_is_made_all_the_same() -> None:
    scene = Scene([ScriptedProvider(steps=[GOOD])])
    scene.limiter.settle_takes_s = 1
    work = asyncio.create_task(scene.chat.answer(ASK, Ada(), scene.context()))

    await wait(0.5)
    work.cancel()
    await asyncio.wait([work])
    await wait(2)

    assert work.cancelled()
    assert scene.limiter.settled == [12]
