"""Redis slow, hung, refused, read-only or empty: what that costs, and that it passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from math import ceil

from verification.checkers.rate_window import AdmitsAtMost, KeepsTheWindow, RetryAfterIsHonest
from verification.contract import promises
from verification.contract.bounds import bounds
from verification.contract.tiers import BASIC, ENTERPRISE, WINDOW_S
from verification.harness import capabilities as can
from verification.harness import records
from verification.harness.claims import claim
from verification.harness.http_client import Http
from verification.harness.limit_fields import limit_fields
from verification.harness.reach import LIVE
from verification.harness.target import ChatResult, Target, User
from verification.harness.timing import holds_up_at_most
from verification.harness.waiting import eventually, meanwhile, now_s, settled, together_over
from verification.history import History
from verification.suites.limits import scales
from verification.suites.limits.callers import (
    DECISIONS,
    HELLO,
    admitted,
    at_each_worker,
    in_turn,
    paced,
    waits_as_told,
)
from verification.suites.limits.scales import METERED, NARROW
from verification.verdict import UnknownVerdict, Verdict

Outage = Callable[[Target], AbstractContextManager[object]]
NEEDS = [can.USERS, can.METRICS, can.FAULTS, can.WORKERS]
SHARE = ceil(BASIC.requests / 2)
# In English about a quarter of the tokens, which fits into a worker's half of them once.
LARGE = "x" * METERED.tokens
# About nine tenths of them.
NEARLY_ALL = "x" * int(METERED.tokens * 0.9) * 4


@contextmanager
def read_only(target: Target) -> Iterator[None]:
    """Redis is a replica of nobody: it answers, and takes no writes. Left again at the end."""
    target.redis.command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        target.redis.command("REPLICAOF", "NO", "ONE")


OUTAGES: dict[str, Outage] = {
    "hung": lambda target: target.faults.hang("redis"),
    "refused": lambda target: target.faults.refuse("redis"),
    "reset": lambda target: target.faults.reset("redis"),
    "read-only": read_only,
}


def is_degraded(result: ChatResult) -> bool:
    """Whether the answer says that its worker decided alone."""
    return limit_fields(result.answer).is_degraded


def shared_again(target: Target, user: User, https: list[Http], healed_s: float) -> list[str]:
    """The workers that still decide alone when the bound is over, by most of five answers.

    The bound grows by the slowest answer to what needs no Redis, meanwhile.
    """
    slowest_s = 0.0
    while now_s() < healed_s + bounds().back_to_shared_within_s + slowest_s:
        slowest_s = max(slowest_s, target.http.get(LIVE).seconds)
    answers = [[target.chat(user, HELLO, http=http) for _ in range(5)] for http in https]
    return [str(five[0]) for five in answers if sum(map(is_degraded, five)) > 2]


@dataclass(frozen=True, slots=True)
class Lived:
    """What a user met during an outage and after it."""

    by_worker: list[int]
    """How many requests each worker admitted, before and during the outage."""
    statuses: set[int]
    not_said: list[str]
    """Answers that a worker gave alone without saying so."""
    not_counted: float
    still_alone: list[str]
    """Of workers that decided alone when the bound was over."""
    connections_more: int
    """Connections to Redis beyond those before."""


def live_through(target: Target, history: History, outage: Outage) -> Lived:
    """A user of a tier with 15 requests for each worker asks each of them before and during it."""
    user, other = together_over((BASIC.name, "pro"), target.new_user)
    connections = target.redis.clients()
    with at_each_worker(target) as https:
        shared = in_turn(target, user, history, https=https, each=2)
        before = target.metrics().sum(DECISIONS, source="local")
        with outage(target):
            alone = in_turn(target, user, history, https=https, each=SHARE + 5)
            after = target.metrics().sum(DECISIONS, source="local")
        still_alone = shared_again(target, other, https, now_s())
    counts = Counter(one.served_by for one in admitted([*shared, *alone]))
    return Lived(
        by_worker=sorted(counts.values()),
        statuses={one.status for one in alone},
        not_said=[str(one.answer) for one in alone if not is_degraded(one)],
        not_counted=len(alone) - (after - before),
        still_alone=still_alone,
        connections_more=settled(
            lambda: max(0, target.redis.clients() - connections),
            quiet_s=0.2,
            within_s=5,
            claim="connections to Redis come to rest",
        ),
    )


@claim(
    "limits.redis-away.bounded",
    proves=[promises.REDIS_AWAY, promises.BACK_TO_SHARED],
    needs=[*NEEDS, can.REDIS_WRITE],
    workers=2,
    faults=("redis",),
)
def test_without_redis_each_worker_keeps_to_its_share_says_so_and_is_back_at_once(
    target: Target, history: History
) -> None:
    met = {name: live_through(target, history, outage) for name, outage in OUTAGES.items()}
    records.record_redis_faults(history, target)

    kept = Lived([SHARE, SHARE], {200, 429}, [], 0, [], 0)
    assert met == dict.fromkeys(OUTAGES, kept)
    AdmitsAtMost(BASIC.requests, WINDOW_S, workers=2)(history).require()


@claim(
    "limits.redis-away.counted-once",
    proves=[promises.COUNTED_ONCE],
    needs=NEEDS,
    workers=2,
    faults=("redis",),
)
def test_what_a_worker_admitted_alone_counts_once_when_redis_is_back(target: Target) -> None:
    user, other = target.new_user(BASIC.name), target.new_user("pro")
    with at_each_worker(target) as https:
        with target.faults.refuse("redis"):
            results = [target.chat(user, HELLO, http=https[0]) for _ in range(3)]
        results += asked_until_shared(target, user, https[0])
        asked_until_shared(target, other, https[1])
        results.append(target.chat(user, HELLO, http=https[1]))

    used = len(admitted(results))
    assert used >= 5
    assert requests_left(results[-2:]) == [BASIC.requests - used + 1, BASIC.requests - used]


@claim(
    "limits.redis-away.in-flight",
    proves=[promises.REDIS_AWAY, promises.COUNTED_ONCE, promises.IN_FLIGHT],
    needs=[*NEEDS, can.SHRINK, can.SCRIPT],
    env=scales.CALM,
    workers=2,
    faults=("redis",),
)
def test_a_worker_alone_gives_its_share_of_places_which_stay_taken_when_redis_is_back(
    target: Target,
) -> None:
    user, name, most = target.new_user(NARROW.name), target.name("message"), NARROW.in_flight
    provider, streams = target.provider(target.providers[0]), list[ChatResult]()
    provider.reply(contains=name, chunks=["some ", "more"], hold=name, hold_after_chunks=1)

    with ExitStack() as stack:
        https, *seats = (
            stack.enter_context(at_each_worker(target)) for _ in range(1 + ceil(most / 2))
        )

        def fill(http: Http) -> None:
            streams.append(target.chat(user, name, stream=True, http=http))

        with target.faults.refuse("redis"):
            stack.enter_context(meanwhile(lambda: together_over(chain(*seats), fill)))
            stack.callback(provider.release, name)
            provider.wait_for_held(most, 10, name)
            alone = [target.chat(user, HELLO, http=http) for http in https]
        # Each worker merges before it asks, so when the last one asks everybody has.
        shared = [asked_until_shared(target, user, http)[-1] for http in https]

    assert [is_degraded(one) for one in alone] == [True, True]
    assert [one.code for one in [*alone, shared[-1]]] == ["too_many_in_flight"] * 3
    assert [one.reply for one in streams if one.is_whole] == ["some more"] * most


@claim(
    "limits.redis-away.tokens",
    proves=[promises.REDIS_AWAY, promises.COUNTED_ONCE, promises.TOKENS],
    needs=[*NEEDS, can.SHRINK, can.SCRIPT],
    env=scales.CALM,
    workers=2,
    faults=("redis",),
)
def test_a_worker_alone_keeps_to_its_share_of_tokens_which_count_when_redis_is_back(
    target: Target,
) -> None:
    user, name, most = target.new_user(METERED.name), target.name("message"), METERED.tokens
    usage = {"prompt_tokens": most // 4, "completion_tokens": most // 4 - 100}  # nearly a share
    target.provider(target.providers[0]).reply(contains=name, usage=usage)

    with at_each_worker(target) as https:
        with target.faults.refuse("redis"):
            alone = [target.chat(user, name + LARGE, http=http) for http in https * 2]
        # Refused as long as anything is used, and a refusal costs nothing.
        shared = [asked_until_shared(target, user, http, NEARLY_ALL)[-1] for http in https]

    assert [is_degraded(one) for one in alone] == [True] * 4
    assert [one.code for one in alone] == [None, None, "tokens_limited", "tokens_limited"]
    left = limit_fields(shared[-1].answer).remaining["tokens"]
    assert left == most - 2 * sum(usage.values())


@claim(
    "limits.redis-answers-lost.counted-once",
    proves=[promises.COUNTED_ONCE],
    needs=NEEDS,
    workers=2,
    faults=("redis",),
)
def test_a_request_whose_decision_was_lost_on_its_way_back_counts_once(target: Target) -> None:
    user, deadline_s = target.new_user(ENTERPRISE.name), bounds().redis_holds_up_a_request_s
    results: list[ChatResult] = []
    with at_each_worker(target) as https:

        def ask() -> None:
            results.append(target.chat(user, HELLO, http=https[0]))

        ask()
        # The first ones after the bite are sent before anybody knows of it.
        with meanwhile(ask, every_s=0.0), target.faults.lose_answers("redis"):
            eventually(
                lambda: results[-1],
                until=is_degraded,
                within_s=5,
                claim="the worker decides alone",
            )
        lost = [one for one in results if is_degraded(one) and one.answer.seconds >= deadline_s]
        results += asked_until_shared(target, user, https[0])

    if not lost:
        raise UnknownVerdict("no decision was under way when the answers were lost")
    assert {one.status for one in results} == {200}
    assert requests_left(results[-1:]) == [ENTERPRISE.requests - len(results)]


@claim(
    "limits.redis-answers-late.counted-once",
    proves=[promises.COUNTED_ONCE],
    needs=NEEDS,
    workers=2,
    faults=("redis",),
)
def test_answers_of_redis_that_come_late_count_once_and_for_nobody_else(target: Target) -> None:
    users = together_over((ENTERPRISE.name, ENTERPRISE.name), target.new_user)
    results: dict[str, list[ChatResult]] = {user.id: [] for user in users}

    def ask(user: User, http: Http) -> None:
        results[user.id].append(target.chat(user, HELLO, http=http))

    with at_each_worker(target) as (http, _):
        for _ in range(5):
            ask(users[0], http)
        # Around the deadline of 50 ms: some are late, seldom three in a row.
        with target.faults.slow("redis", 40, jitter_ms=20):
            for _ in range(20):
                ask(users[0], http)
                ask(users[1], http)
        shared = {
            user.id: [*results[user.id], *asked_until_shared(target, user, http)] for user in users
        }

    answers = [one for own in shared.values() for one in own]
    assert [str(one.answer) for one in answers if one.status != 200] == []
    if not any(map(is_degraded, answers)):
        raise UnknownVerdict("no answer of Redis was late")
    told = {name: _told(own) for name, own in shared.items()}
    assert told == {name: _true(own) for name, own in shared.items()}


def _told(results: list[ChatResult]) -> list[int]:
    """What the shared answers say is left, in their order."""
    return requests_left([one for one in results if not is_degraded(one)])


def _true(results: list[ChatResult]) -> list[int]:
    """What was left then: a lone caller's admitted requests, each of which counts once."""
    return [
        ENTERPRISE.requests - number
        for number, one in enumerate(results, 1)
        if not is_degraded(one)
    ]


def asked_until_shared(
    target: Target, user: User, http: Http, message: str = HELLO
) -> list[ChatResult]:
    """Requests to a worker until it asks Redis again, the last of which did."""
    results: list[ChatResult] = []

    def ask() -> ChatResult:
        results.append(target.chat(user, message, http=http))
        return results[-1]

    eventually(
        ask,
        until=lambda result: not is_degraded(result),
        within_s=5,
        claim="Redis is asked again",
        every_s=0.3,
    )
    return results


def requests_left(results: list[ChatResult]) -> list[int]:
    """What answers say is left of the requests."""
    return [limit_fields(one.answer).remaining["requests"] for one in results]


HINDRANCES: tuple[Outage, ...] = (
    lambda target: target.faults.hang("redis"),
    lambda target: target.faults.slow("redis", 600),
)


@claim(
    "limits.redis-away.holds-up-nobody",
    proves=[promises.REDIS_HOLDS_UP_NOBODY],
    needs=NEEDS,
    workers=2,
    faults=("redis",),
)
def test_a_redis_that_is_hung_or_slow_holds_up_no_request(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.faults.links[target.providers[0]]

    def judged_under(hindrance: Outage) -> Verdict:
        with hindrance(target):
            return holds_up_at_most(
                bounds().redis_holds_up_a_request_s,
                lambda: target.chat(user, HELLO).answer.seconds,
                lambda: target.http.get(LIVE).seconds + provider.feel(5).seconds,
                claim="Redis holds up no request for longer than its deadline",
            )

    hung, slow = map(judged_under, HINDRANCES)
    (hung & slow).require()


@claim(
    "limits.redis-away.rolls-on",
    proves=[promises.REDIS_AWAY],
    needs=[*NEEDS, can.SHRINK],
    env=scales.SHORT,
    workers=2,
    faults=("redis",),
)
def test_without_redis_a_workers_own_window_rolls_too(target: Target, history: History) -> None:
    user, share = target.new_user(), ceil(scales.FREE.requests / 2)
    with target.faults.refuse("redis"), at_each_worker(target) as https:
        paced(target, user, history, every_s=0.05, for_s=scales.WINDOW_S / 2, http=https[0])
        waits_as_told(target, user, history, http=https[0])

    assert len({one.value["served_by"] for one in history.of("chat")}) == 1
    KeepsTheWindow(share, scales.WINDOW_S)(history).require()
    RetryAfterIsHonest(scales.WINDOW_S)(history).require()
