"""An operator's limit for one user: on all workers within seconds, until its end, and no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verification.contract import http, promises
from verification.contract.bounds import bounds
from verification.contract.redis_keys import override_key
from verification.contract.tiers import TIERS
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.limit_fields import limit_fields
from verification.harness.waiting import eventually
from verification.suites.operators.console import Console

if TYPE_CHECKING:
    from verification.harness.http_client import Http
    from verification.harness.target import Target, User

FREE = TIERS["free"].requests
# Far above the tier's, and above what a claim asks for while it waits.
RAISED = 50 * FREE
# Long against one chat on a busy machine, short against the window of a minute.
LASTS_S = 4
# So that waiting does not use up what it waits for.
ASK_EVERY_S = 0.2

Told = tuple[int, int]
"""The status of a chat, and the requests per window that its answer says."""
BY_THE_TIER: Told = (429, FREE)
BY_THE_OPERATOR: Told = (200, RAISED)


def told(target: Target, user: User, way: Http | None = None) -> Told:
    """What one chat is told."""
    answer = target.chat(user, "hello", http=way).answer
    return answer.status, limit_fields(answer).quota.get("requests", 0)


def told_by_every_worker(target: Target, user: User) -> set[Told]:
    """What one chat with each worker is told."""
    seen = set()
    for served_by in target.reach_all_workers():
        with target.at_worker(served_by) as way:
            seen.add(told(target, user, way))
    return seen


def exhaust(target: Target, user: User) -> None:
    """Use up what the tier grants; from then on only a higher limit admits."""
    eventually(
        lambda: told(target, user),
        until=lambda seen: seen == BY_THE_TIER,
        within_s=20.0,
        claim="the tier's limit is reached",
    )


def require_everywhere(target: Target, user: User, wanted: Told, claim: str) -> None:
    """Every worker says so within the bound for news."""
    eventually(
        lambda: told_by_every_worker(target, user),
        until=lambda seen: seen == {wanted},
        within_s=bounds().override_within_s,
        claim=claim,
        every_s=ASK_EVERY_S,
    )


@claim(
    "operators.limits.raised-and-cleared",
    proves=[promises.LIMIT_OVERRIDE],
    needs=[can.USERS, can.SHELL, can.WORKERS],
    workers=2,
)
def test_an_operators_limit_holds_on_all_workers_and_goes_when_it_is_taken_back(
    target: Target,
) -> None:
    user = target.new_user("free")
    exhaust(target, user)
    raise_it = ["limits", "set", user.id, "--requests-per-min", str(RAISED), "--for", "1h"]

    raised = target.shell(raise_it)
    require_everywhere(target, user, BY_THE_OPERATOR, "the operator's limit holds on all workers")
    cleared = target.shell(["limits", "clear", user.id])
    require_everywhere(target, user, BY_THE_TIER, "the tier's limit holds again on all workers")

    assert (raised.code, cleared.code) == (0, 0)


@claim("operators.limits.ends", proves=[promises.LIMIT_OVERRIDE], needs=[can.USERS, can.ADMIN])
def test_an_operators_limit_ends_by_itself_and_is_one_users_alone(target: Target) -> None:
    console, user, other = Console.of(target), target.new_user("free"), target.new_user("free")
    exhaust(target, user)
    exhaust(target, other)
    granted = {"requests_per_min": RAISED, "for_s": LASTS_S}

    status = console.call(http.ADMIN_LIMIT_SET, user.id, json=granted).status
    during = (told(target, user), told(target, other))
    eventually(
        lambda: told(target, user),
        until=lambda seen: seen == BY_THE_TIER,
        within_s=LASTS_S + bounds().override_within_s,
        claim="the tier's limit holds again after the operator's has ended",
        every_s=ASK_EVERY_S,
    )

    assert (status, during) == (200, (BY_THE_OPERATOR, BY_THE_TIER))


@claim(
    "operators.limits.by-hand",
    proves=[promises.LIMIT_OVERRIDE],
    needs=[can.USERS, can.REDIS_WRITE],
)
def test_a_number_by_hand_in_redis_holds_until_its_time_to_live_is_over(target: Target) -> None:
    user = target.new_user("free")
    exhaust(target, user)
    edited = {"requests_per_min": str(RAISED)}

    target.redis.operator_sets(override_key(user.id), edited, ttl_s=LASTS_S)
    # The number stands in Redis alone: whoever is answered late decides without it.
    during = eventually(
        lambda: told(target, user),
        until=lambda seen: seen == BY_THE_OPERATOR,
        within_s=LASTS_S / 2,
        claim="the number by hand holds",
        every_s=ASK_EVERY_S,
    )
    eventually(
        lambda: told(target, user),
        until=lambda seen: seen == BY_THE_TIER,
        within_s=LASTS_S + bounds().override_within_s,
        claim="the tier's limit holds again after the key has ended",
        every_s=ASK_EVERY_S,
    )

    assert during == BY_THE_OPERATOR
