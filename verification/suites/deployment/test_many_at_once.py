"""What one request waits for holds up no other, and nothing is kept of those who have gone."""

from __future__ import annotations

import secrets
import threading
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from verification.contract import http, promises
from verification.harness import billing, stripe_events, stripe_objects
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.waiting import (
    came_true,
    eventually,
    meanwhile,
    now_s,
    settled,
    together,
    together_over,
)
from verification.verdict import UnknownVerdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from verification.harness.answer import Answer
    from verification.harness.target import Target
    from verification.harness.users import User

# What is waited for takes so long, and a request that waits for nothing a hundredth of it.
SLOW_S = 0.4
AT_ONCE_S = 0.3
CALLERS = 5
ROUNDS = 2
# More than any pool of threads has: 40 is the default of anyio's, 32 that of asyncio's at most.
CROWD = 60
# More than the kernel keeps for a connection, which is not the service's.
PIECES, PIECE = 800, "x" * 16_000
READERS = 4
SEEN_WITHIN_S = 15.0
PASSED_WITHIN_S = 60.0
# Memory is seen in steps of so much, so that it can be seen to stand.
SEEN_BYTES = 4_000_000
# Callers whom the service sees once; the first are for what it makes only once.
FIRST, PASSING, A_CONNECTION = 900, 600, 300
# A name, a lock and their place in a table take more than twice that.
LEFT_BYTES_EACH = 200
# Health beside a crowd: whoever waits with it waits for the lock, which is a second at least.
BESIDE_A_CROWD_S = 0.3
# A machine that stands still may cost a newcomer one try; writers that wait cost every one.
TRIES = 2


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
    return lambda: deliver_another(target, target.new_customer())


def deliver_another(target: Target, user: User) -> Answer:
    """An event of its own: a paid invoice, whose subscription has to be fetched."""
    of = stripe_objects.subscription(user)
    target.stripe.put(subscription=of)
    made = stripe_objects.invoice(user, of=of)
    return billing.deliver(target, stripe_events.invoice_paid(user, invoice=made))


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
    assert held_up_s <= lasted_s / 2


@claim(
    "deployment.many-at-once.full-pool",
    proves=[promises.NOBODY_WAITS_FOR_OTHERS, promises.HEALTH_NEVER_WAITS],
    needs=[can.USERS, can.METRICS, can.DATABASE],
    faults=["database"],
)
def test_a_crowd_that_waits_to_write_holds_up_neither_health_nor_who_comes_for_the_first_time(
    target: Target,
) -> None:
    user, newcomer = target.new_customer(), target.new_user()
    paths = [http.LIVE.path, http.HEALTH.path, http.READY.path]

    def waiting() -> float:
        return target.metrics().sum("llmhive_http_requests_in_flight")

    with ExitStack() as at_the_end, target.database_lock():
        crowd = meanwhile(lambda: together(CROWD, lambda: deliver_another(target, user)))
        at_the_end.enter_context(crowd)
        has_come = came_true(lambda: waiting() > CROWD // 2, within_s=5.0)
        answers = together_over(paths * 3, target.http.get)
        still = waiting()
        reads = [
            target.http.get(http.SUBSCRIPTION.path, key=newcomer.key).status for _ in range(TRIES)
        ]

    if not has_come or still < CROWD // 4:
        raise UnknownVerdict(f"of {CROWD} deliveries {still:g} waited at the end")
    waits_s = sorted(answer.seconds for answer in answers)
    assert {answer.status for answer in answers} <= {200, 503}
    assert waits_s[len(waits_s) // 2] <= BESIDE_A_CROWD_S
    assert 200 in reads


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


@claim(
    "deployment.many-at-once.leave-nothing",
    proves=[promises.MEMORY_FLAT],
    needs=[can.WORKERS],
)
def test_callers_whom_it_sees_once_leave_nothing_in_memory(target: Target) -> None:
    pass_by(target, FIRST)
    held_bytes, refused = [target.memory_bytes()], []

    for _ in range(3):
        refused.append(pass_by(target, PASSING))
        held_bytes.append(target.memory_bytes())

    assert refused == [PASSING] * 3
    # What callers leave grows every time, what the process takes for itself does not.
    grown = [after - before for before, after in pairwise(held_bytes)]
    assert min(grown) <= PASSING * LEFT_BYTES_EACH


def pass_by(target: Target, count: int) -> int:
    """So many callers, each with a key of its own that nobody knows; gives how many got 401."""
    said = [
        target.http.raw([together_sent()], timeout_s=PASSED_WITHIN_S)
        for _ in range(count // A_CONNECTION)
    ]
    return sum(one.count(b"HTTP/1.1 401") for one in said)


def together_sent() -> bytes:
    """Requests of several callers, one after the other on one connection."""
    head = f"GET {http.SUBSCRIPTION.path} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer lhk_"
    ends = ["\r\n\r\n"] * (A_CONNECTION - 1) + ["\r\nConnection: close\r\n\r\n"]
    return "".join(f"{head}{secrets.token_hex(24)}{end}" for end in ends).encode()
