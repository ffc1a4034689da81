"""So many requests in flight at once, and a place comes back however its request ended."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from itertools import product
from typing import Any

from verification.contract import promises
from verification.contract.bounds import bounds
from verification.contract.tiers import IN_FLIGHT_LEASE_S
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.http_client import Http
from verification.harness.reach import require_every_worker
from verification.harness.target import ChatResult, Target, User
from verification.harness.waiting import eventually, let_pass, meanwhile, together_over
from verification.suites.limits.callers import (
    HELLO,
    admitted,
    at_each_worker,
    codes,
    decided_together,
    held,
    slow_stream,
)
from verification.suites.limits.scales import CALM, LEASE_S, NARROW, SHORT
from verification.verdict import UnknownVerdict

NEEDS = [can.USERS, can.METRICS, can.SHRINK, can.REDIS_READ, can.SCRIPT]
# Far below the lease, within which a lost place would come back by itself.
BACK_WITHIN_S = 5.0
# How a provider can fail a request, each by another way out of the service.
FAILURES: dict[str, dict[str, Any]] = {
    "refused": {"status": 400},
    "failing": {"status": 500},
    "no JSON": {"raw": "<html>"},
    "cut": {"cut_after_chunks": 1, "chunks": ["a", "b", "c"]},
    "reset": {"cut": "rst"},
    "silent": {"hang": True},
}

# As many as there are places, half of them as streams.
WAYS = (True, False) * (NARROW.in_flight // 2)


def eventually_free(target: Target, user: User, message: str) -> None:
    """All places of the user are free again: as many as there are can be taken at once."""
    eventually(
        lambda: len(admitted(held(target, user, message, NARROW.in_flight))),
        until=lambda count: count == NARROW.in_flight,
        within_s=BACK_WITHIN_S,
        claim="all places are free again",
        every_s=0.2,
    )


@claim("limits.in-flight.bounded", proves=[promises.IN_FLIGHT], needs=NEEDS, env=CALM, workers=2)
def test_over_two_workers_no_more_are_in_flight_than_the_tier_allows_and_leaving_gives_back(
    target: Target,
) -> None:
    user, name, most = target.new_user(NARROW.name), target.name("message"), NARROW.in_flight
    slow_stream(target, name)

    with at_each_worker(target) as https, decided_together(target):
        first = held(target, user, name, 3 * most, https=https)
        eventually_free(target, user, name)

    if len({one.served_by for one in first}) < target.workers_wanted:
        raise UnknownVerdict("only one worker was asked")
    assert len(admitted(first)) == most
    assert codes(first) == {"too_many_in_flight"}
    assert {one.answer.retry_after_s for one in first if one.status != 200} == {1}


@claim(
    "limits.in-flight.failures-give-back",
    proves=[promises.IN_FLIGHT],
    needs=NEEDS,
    env=CALM,
    workers=2,
)
def test_a_request_that_fails_gives_back_its_place_whatever_failed(target: Target) -> None:
    user, name = target.new_user(NARROW.name), target.name("message")
    marks = {failure: target.name(failure) for failure in FAILURES}
    for failure, provider in product(FAILURES, target.providers):
        target.provider(provider).reply(contains=marks[failure], **FAILURES[failure])
    slow_stream(target, name)

    def fail(mark: str, is_stream: bool) -> ChatResult:  # noqa: FBT001  given by position
        return target.chat(user, mark, stream=is_stream, timeout_s=0.5)

    with decided_together(target):
        failed = [
            one for mark in marks.values() for one in together_over(WAYS, partial(fail, mark))
        ]
        eventually_free(target, user, name)

    require_every_worker((one.answer.served_by for one in failed), target.workers_wanted)
    assert [str(one.answer) for one in failed if one.is_whole] == []


@claim(
    "limits.in-flight.killed-worker",
    proves=[promises.IN_FLIGHT],
    needs=[*NEEDS, can.WORKERS, can.RESTART, can.REDIS_WRITE],
    env=SHORT,
    workers=2,
    faults=("worker", "redis"),
)
def test_a_place_lasts_as_long_as_its_request_and_that_of_a_killed_worker_comes_back(
    target: Target,
) -> None:
    user, name, most = target.new_user(NARROW.name), target.name("message"), NARROW.in_flight
    slow_stream(target, name)
    victim = target.reach_all_workers()[0]
    margin_s = bounds().in_flight_slots_back_within_s - IN_FLIGHT_LEASE_S

    def fill(http: Http) -> ChatResult:
        return target.chat(user, name, stream=True, http=http)

    with ExitStack() as connections:
        https = [connections.enter_context(target.at_worker(victim)) for _ in range(most)]
        with meanwhile(lambda: together_over(https, fill)):
            target.provider(target.providers[0]).wait_for_calls(most, 10, contains=name)
            target.redis.flush()  # what runs has to be known again by its renewal
            let_pass(LEASE_S + margin_s, because="a lease that is not renewed ends")
            full = target.chat(user, HELLO)
            target.kill_worker(int(victim.rpartition("-")[2]))
            eventually(
                lambda: target.chat(user, HELLO).status,
                until=lambda status: status == 200,
                within_s=LEASE_S + margin_s,
                claim="the places of the killed worker are free",
                every_s=0.2,
            )

    assert full.code == "too_many_in_flight"
