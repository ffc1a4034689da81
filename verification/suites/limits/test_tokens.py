"""Tokens: reserved before the call, settled after it, once."""

from __future__ import annotations

from verification.checkers.rate_window import RetryAfterIsHonest
from verification.contract import promises
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.limit_fields import limit_fields
from verification.harness.target import Target, User
from verification.harness.waiting import let_pass, settled, together_over
from verification.history import History
from verification.suites.limits.callers import (
    HELLO,
    admitted,
    codes,
    decided_together,
    held,
    slow_stream,
    waits_as_told,
)
from verification.suites.limits.scales import CALM, METERED, SHORT, WINDOW_S

NEEDS = [can.USERS, can.METRICS, can.SHRINK, can.REDIS_READ, can.SCRIPT]
# English has about four characters a token; half of that is no estimate of ours any more.
CHARACTERS_PER_TOKEN = 4
# A sixtieth of the default window.
BUCKET_S = 1.0


def tokens_left(target: Target, user: User) -> int:
    """The tokens that are left, as a refusal tells them: it asks for all, and costs nothing."""
    all_of_them = "x" * (METERED.tokens - 300) * CHARACTERS_PER_TOKEN
    return limit_fields(target.chat(user, all_of_them).answer).remaining["tokens"]


def costs(target: Target, text: str, *, prompt: int, completion: int, after_s: float = 0.0) -> int:
    """From now on the provider says, after so long, what requests with this text cost; the sum."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    target.provider(target.providers[0]).reply(contains=text, usage=usage, delay_s=after_s)
    return prompt + completion


@claim("limits.tokens.reserved", proves=[promises.TOKENS], needs=NEEDS, env=CALM, workers=2)
def test_of_twenty_large_requests_at_once_only_what_fits_reaches_the_provider(
    target: Target,
) -> None:
    user, name = target.new_user(METERED.name), target.name("message")
    message = name + "x" * 6000
    slow_stream(target, name)

    with decided_together(target):
        results = held(target, user, message, 20)

    seated = admitted(results)
    reserved = METERED.tokens - max(limit_fields(one.answer).remaining["tokens"] for one in seated)
    assert reserved >= len(message) // CHARACTERS_PER_TOKEN // 2
    assert len(seated) == METERED.tokens // reserved
    assert codes(results) == {"tokens_limited"}
    assert len(target.provider(target.providers[0]).journal(contains=name)) == len(seated)


@claim("limits.tokens.settled", proves=[promises.TOKENS], needs=NEEDS, env=CALM, workers=2)
def test_tokens_are_settled_once_to_what_was_used_less_or_more_than_reserved(
    target: Target,
) -> None:
    user = target.new_user(METERED.name)
    little, much, lost = (target.name(word) for word in ("little", "much", "lost"))
    # Settled in another bucket of the window than was reserved from.
    used = 3 * costs(target, little, prompt=20, completion=10, after_s=BUCKET_S * 1.2)
    used += costs(target, much, prompt=500, completion=900)
    # What nobody answers costs nothing.
    for name in target.providers:
        target.provider(name).fail(contains=lost)

    with decided_together(target):
        texts = [little, little, little, lost]
        results = together_over(texts, lambda text: target.chat(user, text))
        results.append(target.chat(user, much))
        left = settled(
            lambda: tokens_left(target, user), quiet_s=0.3, within_s=10, claim="tokens are settled"
        )

    assert [result.status for result in results] == [200, 200, 200, 503, 200]
    assert left == METERED.tokens - used


@claim("limits.tokens.left-early", proves=[promises.TOKENS], needs=NEEDS, env=CALM, workers=2)
def test_a_caller_that_leaves_gets_back_what_was_reserved_beyond_what_was_used(
    target: Target,
) -> None:
    user, name = target.new_user(METERED.name), target.name("message")
    slow_stream(target, name)

    with decided_together(target):
        seated = admitted(held(target, user, name + "x" * 800, 3))
        reserved = METERED.tokens - min(
            limit_fields(one.answer).remaining["tokens"] for one in seated
        )
        left = settled(
            lambda: tokens_left(target, user), quiet_s=0.3, within_s=10, claim="tokens are settled"
        )

    used = METERED.tokens - left
    assert len(seated) == 3
    assert 0 < used < reserved


@claim("limits.tokens.too-large", proves=[promises.TOKENS], needs=NEEDS, env=CALM, workers=2)
def test_a_request_larger_than_the_whole_budget_is_told_so_and_costs_nothing(
    target: Target,
) -> None:
    user, name = target.new_user(METERED.name), target.name("message")
    too_large = name + "x" * (METERED.tokens + 1) * CHARACTERS_PER_TOKEN

    with decided_together(target):
        before = limit_fields(target.chat(user, HELLO).answer)
        result = target.chat(user, too_large)
        after = limit_fields(target.chat(user, HELLO).answer)

    assert (result.status, result.code) == (422, "request_too_large")
    assert before.remaining["requests"] - after.remaining["requests"] == 1
    assert target.provider(target.providers[0]).journal(contains=name) == []


@claim(
    "limits.retry-after.every-phase",
    proves=[promises.RETRY_AFTER],
    needs=NEEDS,
    env=SHORT,
    workers=2,
)
def test_whoever_waits_as_told_is_admitted_whatever_ran_out_and_whenever(
    target: Target, history: History
) -> None:
    phases = (0.1, 0.35, 0.6, 0.85)
    users = together_over(phases, lambda _: (target.new_user(), target.new_user(METERED.name)))

    def live(phase: float, user: User) -> None:
        for part in (phase, phase + 1 / 3):
            let_pass((part * WINDOW_S - target.redis.time_s()) % WINDOW_S, because="a phase")
            together_over(range(6), lambda _: target.chat(user, HELLO, history=history))
        message = HELLO if user.tier == "free" else "x" * 3600 * CHARACTERS_PER_TOKEN
        waits_as_told(target, user, history, message)

    lives = [(phase, user) for phase, both in zip(phases, users, strict=True) for user in both]
    with decided_together(target):
        together_over(lives, lambda life: live(*life))
    told = frozenset({"rate_limited", "tokens_limited"})
    RetryAfterIsHonest(WINDOW_S, codes=told)(history).require()
