"""An operator's limit for one user: on all workers within seconds, until its end, and no longer."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from verification.contract import http, promises
from verification.contract.bounds import bounds
from verification.contract.redis_keys import override_key
from verification.contract.tiers import TIERS
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.limit_fields import limit_fields
from verification.harness.waiting import eventually
from verification.suites.limits.scales import BUSY, SHORT, WINDOW_S
from verification.suites.operators.console import Console

if TYPE_CHECKING:
    from verification.harness.http_client import Http
    from verification.harness.target import Target, User

FREE = TIERS["free"].requests
# Far above the tier's, and above what a claim asks for while it waits.
RAISED = 50 * FREE
# Long against one chat on a busy machine, short against the window of a minute.
LASTS_S = 4
# What a path and a key in Redis would take for something else.
STRANGE_END = "/a:\u00e9 %3A"
# So many per minute are so many in a window of SHORT: fewer than any of its tiers grants.
LOW_PER_MIN = 400
LOW = int(LOW_PER_MIN * WINDOW_S / 60)
# An hour and a half, of which a claim takes a minute at most.
LONG, LONG_S, TAKES_S = "90m", 5400, 60
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
    user = target.new_user("free", named=target.name() + STRANGE_END)
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


def quotas(target: Target, user: User) -> set[int]:
    """The requests per window that one chat with each worker is told of."""
    return {quota for _, quota in told_by_every_worker(target, user)}


@claim(
    "operators.limits.lowered",
    proves=[promises.LIMIT_OVERRIDE],
    needs=[can.USERS, can.ADMIN, can.SHRINK, can.WORKERS, can.FAULTS],
    env=SHORT,
    workers=2,
    faults=("redis",),
)
def test_an_operators_limit_below_the_tiers_holds_too_without_redis_and_down_to_nothing(
    target: Target,
) -> None:
    console = Console.of(target)
    user = target.new_user(BUSY.name, named=target.name() + STRANGE_END)

    def grant(per_min: int, wanted: int, sentence: str) -> None:
        granted = {"requests_per_min": per_min, "for_s": LONG_S}
        assert console.call(http.ADMIN_LIMIT_SET, user.id, json=granted).status == 200
        eventually(
            lambda: quotas(target, user),
            until=lambda seen: seen == {wanted},
            within_s=bounds().override_within_s,
            claim=sentence,
            every_s=ASK_EVERY_S,
        )

    grant(LOW_PER_MIN, LOW, "every worker grants the operator's number, by the minute")
    with target.faults.refuse("redis"):
        grant(3 * LOW_PER_MIN, ceil(3 * LOW / 2), "without Redis each grants its share of the next")
    grant(0, 0, "every worker grants nothing")
    none = told_by_every_worker(target, user)

    assert none == {(429, 0)}


@claim(
    "operators.limits.listed",
    proves=[promises.LIMIT_OVERRIDE, promises.KNOWN_KEYS_ONLY],
    needs=[can.USERS, can.ADMIN, can.SHELL, can.REDIS_READ],
)
def test_an_operators_limit_is_listed_and_its_copy_in_redis_ends_when_it_does(
    target: Target,
) -> None:
    console, user = Console.of(target), target.new_user("free")
    key = override_key(user.id)

    def listed() -> list[list[dict[str, Any]]]:
        command = target.shell(["limits", "list", "--json"]).json()
        lists = (command, console.call(http.ADMIN_LIMITS).json())
        return [[each for each in one["overrides"] if each["user"] == user.id] for one in lists]

    began_s = target.redis.time_s()
    set_it = ["limits", "set", user.id, "--requests-per-min", str(RAISED), "--for", LONG, "--json"]
    given = target.shell(set_it).json()
    eventually(
        lambda: target.redis.hash(key).get("requests_per_min"),
        until=lambda number: number == str(RAISED),
        within_s=bounds().override_within_s,
        claim="Redis shows the operator's limit",
    )
    left_s, during = target.redis.ttl(key), listed()
    cleared = console.call(http.ADMIN_LIMIT_CLEAR, user.id).status
    again = target.shell(["limits", "clear", user.id]).code

    assert given["requests_per_min"] == RAISED
    assert LONG_S <= given["ends_at"] - began_s < LONG_S + TAKES_S
    assert left_s is not None
    assert LONG_S - TAKES_S < left_s <= LONG_S
    assert during == [[given], [given]]
    assert (cleared, again, listed()) == (200, 1, [[], []])
