"""A breaker opens after enough failures, lets few probes through, closes when they succeed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verification.checkers.breaker_path import KeepsToThePathOf
from verification.contract import promises
from verification.contract.breakers import OPEN_JITTER, PROBES, SUCCESSES
from verification.contract.metrics import CIRCUIT_STATES
from verification.contract.redis_keys import circuit_key
from verification.harness import capabilities as can
from verification.harness import clock, records
from verification.harness.claims import claim
from verification.harness.waiting import eventually, meanwhile, together
from verification.suites.breakers.circuit import (
    BREAKER,
    CLOSED,
    OPEN,
    PROVIDER,
    RECOVERS_WITHIN_S,
    TRANSITIONS,
    asked,
    look,
    most_at_once,
    opened,
    recovered,
    shown,
    state,
    states,
    watched,
)
from verification.verdict import UnknownVerdict

if TYPE_CHECKING:
    from verification.harness.target import Target
    from verification.history import History

REDIS_FAILURES = "llmhive_redis_failures_total"
NEEDS = [can.USERS, can.SCRIPT, can.WORKERS]
# Open for longer than news may take, so that late attempts can be told from early ones.
SLOW_OPEN_S = 3.0
CROWD = 60
TROUBLE: dict[str, dict[str, Any]] = {
    "slower than S4_LLM_TIMEOUT": {"delay_s": 5.0},
    "reset": {"cut": "rst"},
    "cut in the middle": {"chunks": ["one ", "two "], "cut_after_bytes": 20},
}
IMPATIENT = {"S4_LLM_TIMEOUT": "1", "RETRY_ATTEMPTS": "1"}
# Without Redis each worker has probes of its own; on a busy machine the default 50 ms are not
# enough to say that it is away.
TOGETHER = {"REDIS_DEADLINE_S": "1"}
SHIFTABLE = {"BREAKER_OPEN_S": f"{SLOW_OPEN_S:g}", **clock.shiftable()}
SLOW = {"BREAKER_OPEN_S": f"{SLOW_OPEN_S:g}", "BREAKER_OPEN_MAX_S": "6", "BREAKER_WINDOW_S": "5"}


@claim(
    "breakers.path.whole",
    proves=[
        promises.BREAKER_OPENS,
        promises.NO_ATTEMPT_WHILE_OPEN,
        promises.BREAKER_PROBES,
        promises.BREAKER_CLOSES,
        promises.BREAKER_STATES_SHOWN,
    ],
    needs=[*NEEDS, can.METRICS],
    env=SLOW,
    workers=2,
)
def test_a_failing_provider_is_left_alone_by_all_workers_and_taken_back(
    target: Target, history: History
) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)
    gauges = []

    with watched(target, history):
        provider.fail(500)
        opened(target, user)
        gauges.append(shown(target, OPEN))
        calls = len(provider.journal())
        eventually(
            lambda: (asked(target, user, 1), len(provider.journal()))[1],
            until=lambda count: count > calls,
            within_s=RECOVERS_WITHIN_S,
            claim="a probe is sent after the rest",
            every_s=0.1,
        )
        provider.clear_rules()
        recovered(target, user)
        gauges.append(shown(target, CLOSED))
    look(target, history)  # the last one before may be older than the news
    records.record_attempts(history, PROVIDER, provider.journal())

    assert gauges == [CIRCUIT_STATES[OPEN], CIRCUIT_STATES[CLOSED]]
    KeepsToThePathOf(BREAKER, workers=2, window_s=5.0, open_s=SLOW_OPEN_S)(history).require()


@claim(
    "breakers.path.any-trouble",
    proves=[promises.BREAKER_OPENS, promises.BREAKER_CLOSES],
    needs=NEEDS,
    env=IMPATIENT,
    workers=2,
)
def test_whatever_the_trouble_all_workers_leave_it_alone_and_take_it_back(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)
    answered_by = []

    for trouble in TROUBLE.values():
        provider.reply(**trouble)
        opened(target, user)
        answered_by.append(target.chat(user, "while it is open").body.get("provider"))
        provider.clear_rules()
        recovered(target, user)
        answered_by.append(target.chat(user, "once it is closed").body.get("provider"))

    assert answered_by == ["anthropic", PROVIDER] * len(TROUBLE)


@claim(
    "breakers.probes.stampede",
    proves=[promises.BREAKER_PROBES],
    needs=[*NEEDS, can.METRICS],
    env=TOGETHER,
    workers=2,
)
def test_a_crowd_of_callers_at_half_open_send_three_probes_at_most(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)
    provider.fail(500)
    opened(target, user)
    before, other = len(provider.journal()), target.provider(target.providers[1])
    redis_failures = target.metrics().sum(REDIS_FAILURES)

    provider.clear_rules()
    provider.reply(hold="probe")
    with meanwhile(lambda: asked(target, user, 1), every_s=0.05):
        provider.wait_for_held(1, within_s=RECOVERS_WITHIN_S, gate="probe")
        answered = len(other.journal())
        with meanwhile(lambda: together(CROWD, lambda: target.chat(user, "hello"))):
            eventually(
                lambda: len(other.journal()) - answered,
                until=lambda count: count >= CROWD - PROBES,
                within_s=RECOVERS_WITHIN_S,
                claim="the other provider answers whoever is no probe",
            )
            probes = provider.journal()[before:]
            provider.clear_rules()
            provider.release("probe")

    most = most_at_once(probes)
    if most > PROBES and target.metrics().sum(REDIS_FAILURES) > redis_failures:
        raise UnknownVerdict("Redis was away for a moment: then each worker has probes of its own")
    assert 1 <= most <= PROBES
    recovered(target, user)


@claim(
    "breakers.probes.abandoned",
    proves=[promises.BREAKER_PROBES],
    needs=[*NEEDS, can.METRICS],
    env=TOGETHER,
    workers=2,
)
def test_probes_whose_callers_leave_are_not_lost(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)
    provider.fail(500)
    opened(target, user)
    openings = target.metrics().sum(TRANSITIONS, service=BREAKER, to=OPEN)

    provider.clear_rules()
    provider.reply(hold="probe")
    eventually(
        lambda: (
            together(4, lambda: target.chat(user, "hello", timeout_s=0.4)),
            provider.journal(),
        )[1],
        # One more than may be at once: by then workers have heard of the first three.
        until=lambda calls: sum(call.hung_up_s is not None for call in calls) > PROBES,
        within_s=RECOVERS_WITHIN_S,
        claim="callers leave while their probes are on the way",
    )
    left = states(target)
    provider.clear_rules()
    provider.release("probe")
    recovered(target, user)

    assert CLOSED not in left
    # A slot that was not given back would have expired, which is a failure.
    assert target.metrics().sum(TRANSITIONS, service=BREAKER, to=OPEN) == openings
    assert asked(target, user, 1)[0].body["provider"] == PROVIDER


@claim(
    "breakers.probes.killed-worker",
    proves=[promises.BREAKER_PROBES],
    needs=[*NEEDS, can.RESTART],
    env=TOGETHER,
    workers=2,
    faults=["worker"],
)
def test_probes_whose_workers_are_killed_are_not_waited_for_for_ever(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)
    provider.fail(500)
    opened(target, user)

    provider.clear_rules()
    provider.reply(hold="probe")
    with meanwhile(lambda: asked(target, user), every_s=0.05):
        provider.wait_for_held(PROBES, within_s=RECOVERS_WITHIN_S, gate="probe")
        for worker in target.reach_all_workers():
            target.kill_worker(int(worker.rpartition("-")[2]))
    provider.clear_rules()
    provider.release("probe")

    # Their slots end a second after their time-out, which is a failure; then others are sent.
    recovered(target, user)
    assert asked(target, user, 1)[0].body["provider"] == PROVIDER


@claim(
    "breakers.closes.by-three",
    proves=[promises.BREAKER_CLOSES],
    needs=NEEDS,
    env=TOGETHER,
    workers=2,
)
def test_two_lucky_probes_do_not_close_it_and_one_failure_opens_it(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)
    provider.fail(500)
    opened(target, user)
    before, seen = len(provider.journal()), set()

    provider.clear_rules()
    provider.reply(times=SUCCESSES - 1, text="lucky")
    provider.fail(500)
    with meanwhile(lambda: seen.add(state(target)), every_s=0.02):
        eventually(
            lambda: (asked(target, user, 1), provider.journal())[1],
            until=lambda calls: len(calls) >= before + SUCCESSES + 1,
            within_s=RECOVERS_WITHIN_S,
            claim="probes go on",
            every_s=0.05,
        )
    calls = provider.journal()[before:]

    assert CLOSED not in seen
    assert [call.status for call in calls][:SUCCESSES] == [200] * (SUCCESSES - 1) + [500]
    assert OPEN in seen


@claim(
    "breakers.redis-lost.works-on",
    proves=[promises.BREAKERS_WITHOUT_REDIS, promises.BREAKER_KEYS],
    needs=[*NEEDS, can.REDIS_READ, can.REDIS_WRITE, can.FAULTS],
    workers=2,
    faults=["redis"],
)
def test_after_redis_lost_its_memory_and_without_it_breakers_open_and_close(
    target: Target,
) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)
    provider.fail(500)
    opened(target, user)
    named = {view.name: view.kind for view in target.redis.dump()}

    target.redis.flush()
    provider.clear_rules()
    recovered(target, user)
    with target.faults.refuse("redis"):
        # Again, since by then every worker has noticed that Redis is away.
        for _ in range(2):
            provider.fail(500)
            opened(target, user)
            provider.clear_rules()
            recovered(target, user)

    assert named.get(circuit_key(BREAKER)) == "hash"


@claim(
    "breakers.clock.stepped",
    proves=[promises.BREAKER_CLOSES, promises.BREAKERS_WITHOUT_REDIS],
    needs=[*NEEDS, can.CLOCK, can.FAULTS],
    env=SHIFTABLE,
    faults=("clock", "redis"),
)
def test_stepping_the_wall_clock_neither_ends_a_rest_nor_prolongs_it(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(PROVIDER)

    with target.faults.refuse("redis"):
        provider.fail(500)
        opened(target, user)
        before = provider.journal()
        target.shift_clock(3600.0)
        asked(target, user)
        after = provider.journal()[len(before) :]
        target.shift_clock(-3600.0)
        provider.clear_rules()
        recovered(target, user)

    # It opened after the last of these had begun, and rests for its time less the jitter.
    may_probe_s = max(call.arrived_s for call in before) + SLOW_OPEN_S * (1 - OPEN_JITTER)
    assert [call for call in after if call.arrived_s < may_probe_s] == []
