"""Redis loses its memory or its scripts, or a crowd presses it: the limits stay as they are."""

from __future__ import annotations

from verification.checkers.rate_window import AdmitsAtMost, KeepsTheWindow
from verification.contract import promises
from verification.contract.tiers import WINDOW_S
from verification.harness import capabilities as can
from verification.harness import records
from verification.harness.claims import claim
from verification.harness.limit_fields import limit_fields
from verification.harness.target import Target
from verification.harness.waiting import eventually, meanwhile, together
from verification.history import History
from verification.suites.limits.callers import (
    HELLO,
    admitted,
    at_each_worker,
    burst,
    decided_together,
    in_turn,
    require_every_worker,
)
from verification.suites.limits.scales import CALM, FREE, NARROW

NEEDS = [can.USERS, can.METRICS, can.SHRINK, can.REDIS_READ]
# The default of REDIS_MAX_CONNECTIONS, in each worker.
CONNECTIONS = 10
CROWD = 60


@claim(
    "limits.redis-emptied.bounded",
    proves=[promises.REDIS_EMPTIED, promises.STATE_CLEARED],
    needs=[*NEEDS, can.REDIS_WRITE],
    env=CALM,
    workers=2,
    faults=("redis",),
)
def test_a_redis_that_lost_its_memory_costs_one_limit_at_most(
    target: Target, history: History
) -> None:
    user = target.new_user()

    with decided_together(target):
        for _ in range(2):
            burst(target, user, history, FREE.requests + 3)
            records.record_emptied(history, target)
        results = burst(target, user, history, 2 * FREE.requests)
        AdmitsAtMost(FREE.requests, WINDOW_S, workers=2)(history).require()

    assert len(admitted(results)) == FREE.requests


@claim(
    "limits.redis-scripts-lost.exact",
    proves=[promises.SCRIPTS_LOST],
    needs=[*NEEDS, can.REDIS_WRITE],
    env=CALM,
    workers=2,
    faults=("redis",),
)
def test_a_redis_that_forgot_its_scripts_limits_as_before(target: Target, history: History) -> None:
    user = target.new_user()

    with at_each_worker(target) as https, decided_together(target):
        in_turn(target, user, history, https=https, each=1)
        target.redis.forget_scripts()
        results = burst(target, user, history, 2 * FREE.requests)
        require_every_worker(target, history)
        KeepsTheWindow(FREE.requests, WINDOW_S, workers=2)(history).require()

    assert {one.status for one in results} == {200, 429}


@claim(
    "limits.redis-pressed.exact",
    proves=[promises.REDIS_POOL],
    needs=[*NEEDS, can.FAULTS],
    env=CALM,
    workers=2,
    faults=("redis",),
)
def test_a_crowd_before_a_slow_redis_needs_few_connections_and_gets_exact_answers(
    target: Target, history: History
) -> None:
    crowd, leaving, other = (target.new_user(tier) for tier in ("free", NARROW.name, "free"))
    connected: list[int] = []

    with decided_together(target), target.faults.slow("redis", 40):
        with meanwhile(lambda: connected.append(target.redis.clients()), every_s=0.05):
            together(NARROW.in_flight, lambda: target.chat(leaving, HELLO, timeout_s=0.03))
            results = burst(target, crowd, history, CROWD)
        left = limit_fields(target.chat(other, HELLO).answer).remaining
        eventually(
            lambda: target.chat(leaving, HELLO).status,
            until=lambda status: status == 200,
            within_s=5,
            claim="whoever left has given back its place",
        )
        KeepsTheWindow(FREE.requests, WINDOW_S, workers=2)(history).require()

    assert {one.status for one in results} == {200, 429}
    assert max(connected) <= target.workers_wanted * CONNECTIONS
    assert left["requests"] == FREE.requests - 1
