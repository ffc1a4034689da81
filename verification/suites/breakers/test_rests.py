"""How long a breaker rests: longer after each failure of a probe, and anew once it was closed."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from verification.contract import promises
from verification.contract.breakers import MIN_FAILURES, OPEN_JITTER, OPEN_S
from verification.contract.redis_keys import circuit_key
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.waiting import eventually, meanwhile
from verification.suites.breakers.circuit import OPEN, OPENS_WITHIN_S, PROVIDER, asked, recovered
from verification.verdict import UnknownVerdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from verification.harness.target import Target
    from verification.harness.users import User

# The first rest and the longest. One worker and one caller, so that the fifth failure opens it
# and every later call is a probe.
FIRST_S, LONGEST_S = 0.5, 2.0
SHORT = {
    "BREAKER_OPEN_S": f"{FIRST_S:g}",
    "BREAKER_OPEN_MAX_S": f"{LONGEST_S:g}",
    "RETRY_ATTEMPTS": "1",
}
RESTS_S = (FIRST_S, FIRST_S * 2, LONGEST_S, LONGEST_S)
OPENS = MIN_FAILURES - 1
LEAST = 1 - OPEN_JITTER
# As documented. What opens at one moment would end at one moment, but for the jitter: of four
# ends over 6 s, all lie within so little once in fifty thousand times.
DOCUMENTED = {
    "BREAKER_OPEN_S": f"{OPEN_S:g}",
    "BREAKER_OPEN_MAX_S": "300",
    "RETRY_ATTEMPTS": "1",
}
APART_S = 0.1
BOTH_AND_PARENTS = ("openai", "openai:gpt-4o:0", "anthropic", "anthropic:claude-sonnet-4-5:0")
FIELDS = {"state", "epoch", "open_until", "reason", "forced"}
# All rests together take less than 7 s.
RESTED_WITHIN_S = 25.0
# Somebody asks twenty times a second. Two calls can lie apart as far as the shortest rest only if
# the caller paused for half of it, once at least.
PAUSE_S = FIRST_S * LEAST / 2


def gaps_of(
    target: Target, user: User, until: Callable[[list[float]], bool]
) -> tuple[list[float], float]:
    """Let the provider fail until the gaps between its calls are as wanted.

    Gives: the gaps, and the longest pause of the caller, in seconds.
    """
    provider, answers = target.provider(PROVIDER), len(target.answers)
    before = len(provider.journal())
    provider.fail(500)
    with meanwhile(lambda: asked(target, user, 1), every_s=0.05):
        found = eventually(
            lambda: gaps([call.arrived_s for call in provider.journal()[before:]]),
            until=until,
            within_s=RESTED_WITHIN_S,
            claim="a failing provider is called again and again, with rests between",
            every_s=0.1,
        )
    provider.clear_rules()
    return found, max(gaps([answer.sent_s for answer in target.answers[answers:]]))


def gaps(moments: list[float]) -> list[float]:
    """The seconds from each to the next."""
    return [later - earlier for earlier, later in pairwise(moments)]


def opened_after(found: list[float]) -> int | None:
    """How many calls came before the first gap that is as long as a rest, if there is one."""
    return next((n + 1 for n, gap in enumerate(found) if gap >= FIRST_S * LEAST), None)


@claim(
    "breakers.rests.grow",
    proves=[promises.BREAKER_RESTS, promises.BREAKER_OPENS],
    needs=[can.USERS, can.SCRIPT],
    env=SHORT,
)
def test_rests_grow_to_the_longest_and_begin_anew_once_it_was_closed(target: Target) -> None:
    user = target.new_user("enterprise")

    found, paused_s = gaps_of(target, user, lambda seen: len(seen) >= OPENS + len(RESTS_S))
    recovered(target, user)
    anew, paused_again_s = gaps_of(target, user, lambda seen: opened_after(seen) is not None)

    rests, again = found[OPENS : OPENS + len(RESTS_S)], opened_after(anew) or 0
    grew = [rest >= expected * LEAST for rest, expected in zip(rests, RESTS_S, strict=True)]
    # Below what it would be otherwise, and far above what it should be: a busy service is late.
    is_bounded = rests[-1] < 2 * LONGEST_S * LEAST
    # What was asked while it closed counts as well, so more failures than five may be needed.
    is_anew = again >= MIN_FAILURES and anew[again - 1] < LONGEST_S * LEAST
    for holds, seconds in ((is_bounded, paused_s), (is_anew, paused_again_s)):
        if not holds and seconds > PAUSE_S:
            raise UnknownVerdict(f"the caller itself paused for {seconds:.2f} s")
    assert grew == [True] * len(RESTS_S)
    assert (is_bounded, is_anew) == (True, True)


@claim(
    "breakers.rests.spread",
    proves=[promises.BREAKER_RESTS, promises.BREAKER_KEYS],
    needs=[can.USERS, can.SCRIPT, can.REDIS_READ, can.FAULTS],
    env=DOCUMENTED,
    faults=["openai", "anthropic"],
)
def test_breakers_that_open_together_rest_as_documented_and_end_apart(target: Target) -> None:
    user, keys = target.new_user("enterprise"), [*map(circuit_key, BOTH_AND_PARENTS)]

    before_s = target.redis.time_s()
    with target.faults.refuse("openai"), target.faults.refuse("anthropic"):
        records = eventually(
            lambda: (target.chat(user, "hello"), [*map(target.redis.hash, keys)])[1],
            until=lambda found: [one.get("state") for one in found] == [OPEN] * len(keys),
            within_s=OPENS_WITHIN_S,
            claim="the breakers of both providers open, and their parents",
        )
    after_s = target.redis.time_s()

    ends_s = [int(record["open_until"]) / 1000 for record in records]
    assert [sorted(FIELDS - record.keys()) for record in records] == [[]] * len(keys)
    assert [bool(record["reason"]) for record in records] == [True] * len(keys)
    assert len({record["epoch"] for record in records}) == len(keys)
    assert before_s + OPEN_S * LEAST <= min(ends_s)
    assert max(ends_s) <= after_s + OPEN_S * (1 + OPEN_JITTER)
    assert max(ends_s) - min(ends_s) > APART_S
