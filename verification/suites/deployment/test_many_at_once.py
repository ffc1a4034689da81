"""What one request waits for holds up no other, and nothing is kept of those who have gone."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest

from verification.contract import http, promises
from verification.harness import billing, stripe_events, stripe_objects
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.waiting import eventually, meanwhile, now_s, settled, together
from verification.verdict import UnknownVerdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from verification.harness.answer import Answer
    from verification.harness.target import Target
    from verification.harness.users import User

# What is waited for takes so long, and a request that waits for nothing a hundredth of it.
SLOW_S = 0.4
AT_ONCE_S = 0.1
CALLERS = 5
ROUNDS = 2
# More than any pool of threads has: 40 is the default of anyio's, 32 that of asyncio's at most.
CROWD = 60
# More than the kernel keeps for a connection, which is not the service's.
PIECES, PIECE = 800, "x" * 16_000
READERS = 4
SEEN_WITHIN_S = 15.0
# Memory is seen in steps of so much, so that it can be seen to stand.
SEEN_BYTES = 4_000_000


def a_plain_answer(target: Target) -> Callable[[], object]:
    """A chat whose provider takes its time."""
    target.provider(target.providers[0]).reply(delay_s=SLOW_S)
    return partial(target.chat, target.new_user("enterprise"), "hello")


def a_stream(target: Target) -> Callable[[], object]:
    """A stream whose pieces take their time."""
    target.provider(target.providers[0]).reply(chunks=["a ", "b "], chunk_delay_s=SLOW_S / 2)
    return partial(target.chat, target.new_user("enterprise"), "hello", stream=True)


def a_webhook(target: Target) -> Callable[[], object]:
    """An event for whose object Stripe takes its time."""
    target.stripe.reply(delay_s=SLOW_S)
    return partial(deliver_another, target, target.new_customer())


def deliver_another(target: Target, user: User) -> Answer:
    """An event of its own about a subscription of the customer that Stripe knows."""
    of = stripe_objects.subscription(user)
    target.stripe.put(subscription=of)
    return billing.deliver(target, stripe_events.subscription_created(of))


SLOW = {"a plain answer": a_plain_answer, "a stream": a_stream, "a webhook": a_webhook}


@claim(
    "deployment.many-at-once.wait-for-nobody",
    proves=[promises.NOBODY_WAITS_FOR_OTHERS],
    needs=[can.USERS, can.SCRIPT],
)
@pytest.mark.parametrize("kind", SLOW)
def test_what_one_request_waits_for_holds_up_no_other(kind: str, target: Target) -> None:
    act, pings = SLOW[kind](target), []

    with target.http.kept_open() as kept:
        started_s = now_s()
        with meanwhile(lambda: pings.append(kept.get(http.LIVE.path)), every_s=0.02):
            for _ in range(ROUNDS):
                together(CALLERS, act)
        lasted_s = now_s() - started_s

    held_up_s = sum(ping.seconds for ping in pings if ping.seconds > AT_ONCE_S)
    assert lasted_s >= ROUNDS * SLOW_S
    assert {ping.status for ping in pings} == {200}
    assert held_up_s <= lasted_s / 3


@claim(
    "deployment.many-at-once.full-pool",
    proves=[promises.NOBODY_WAITS_FOR_OTHERS, promises.HEALTH_NEVER_WAITS],
    needs=[can.USERS, can.METRICS, can.DATABASE],
    faults=["database"],
)
def test_a_crowd_that_waits_for_the_database_holds_up_no_look_at_the_health(
    target: Target,
) -> None:
    user = target.new_customer()
    paths = [http.LIVE.path, http.HEALTH.path, http.READY.path]

    with (
        meanwhile(lambda: together(CROWD, lambda: deliver_another(target, user))) as crowd,
        target.database_lock(),
    ):
        eventually(
            lambda: target.metrics().sum("llmhive_http_requests_in_flight"),
            until=lambda count: count > CROWD // 2,
            within_s=5.0,
            claim="a crowd waits for the database",
        )
        answers = [target.http.get(path) for path in paths * 3]
        still = target.metrics().sum("llmhive_http_requests_in_flight")
    crowd.stop()

    if still < CROWD // 4:
        raise UnknownVerdict(f"of {CROWD} deliveries {still:g} still waited at the end")
    waits_s = sorted(answer.seconds for answer in answers)
    assert {answer.status for answer in answers} <= {200, 503}
    assert waits_s[len(waits_s) // 2] <= AT_ONCE_S


@claim(
    "chat.stream.slow-reader",
    proves=[promises.BACK_PRESSURE],
    needs=[can.USERS, can.SCRIPT, can.WORKERS],
)
def test_what_a_caller_does_not_read_is_not_heaped_up(target: Target) -> None:
    user = target.new_user("enterprise")
    target.provider(target.providers[0]).reply(chunks=[PIECE] * PIECES)
    stopped: list[bytes] = []
    was_seen = threading.Event()

    def stop_reading(body: bytes) -> bool:
        stopped.append(body)
        return was_seen.wait(SEEN_WITHIN_S)

    before_bytes = target.memory_bytes()
    read = partial(target.chat, user, "hello", stream=True, leave_when=stop_reading)
    with meanwhile(lambda: together(READERS, read)), ExitStack() as at_the_end:
        at_the_end.callback(was_seen.set)
        eventually(
            lambda: len(stopped),
            until=lambda count: count == READERS,
            within_s=SEEN_WITHIN_S,
            claim="all callers have begun to read",
        )
        held = settled(
            lambda: (target.memory_bytes() - before_bytes) // SEEN_BYTES,
            quiet_s=0.5,
            within_s=SEEN_WITHIN_S,
            claim="the service has taken what it takes",
        )

    assert held * SEEN_BYTES <= READERS * PIECES * len(PIECE) / 2
