"""A stop loses nothing: what a provider was asked is answered, and balancers know in time."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from verification.contract import http, promises
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.waiting import eventually, meanwhile, now_s, together_over

if TYPE_CHECKING:
    from verification.harness.chat_result import ChatResult
    from verification.harness.target import Target

# Long enough to be seen draining by a busy machine; the promise's own number is 5 s.
DRAIN_S = 2.0
DRAINING = {"DRAIN_SECONDS": f"{DRAIN_S:g}", "SHUTDOWN_GRACE_S": "6"}
# Longer than the drain, so that an unfinished body outlasts it, and shorter than the grace.
IMPATIENT = {**DRAINING, "BODY_DEADLINE_S": "2.5"}
NO_GRACE = {"DRAIN_SECONDS": "0", "SHUTDOWN_GRACE_S": "0.5"}
ENDED_WITHIN_S = 20.0
# More deaths of one worker than a start is tried.
DEATHS = 6
CALLERS = 12


@claim(
    "deployment.stop.loses-nothing",
    proves=[promises.DRAINS],
    needs=[can.USERS, can.SCRIPT, can.RESTART, can.WORKERS],
    env=DRAINING,
    workers=2,
)
def test_sigterm_under_load_loses_nothing_that_a_provider_saw(target: Target) -> None:
    user = target.new_user("enterprise")
    provider = target.provider(target.providers[0])
    provider.reply(chunks=["one ", "two ", "three"], chunk_delay_s=0.2, delay_s=0.3)
    results: list[ChatResult] = []

    with meanwhile(lambda: results.extend(storm(target, user)), every_s=0.0):
        provider.wait_for_calls(CALLERS, within_s=10.0)
        target.terminate()
        code = target.process.wait(ENDED_WITHIN_S)

    seen = [call.text for call in provider.journal()]
    whole = [one for one in results if one.is_whole]
    lost = [
        one for one in results if not one.is_whole and any(message_of(one) in text for text in seen)
    ]
    assert code == 0
    assert len(whole) >= CALLERS
    assert lost == []


def storm(target: Target, user: object) -> list[ChatResult]:
    """Callers at once, half of them streaming, each with a message of its own."""
    rounds = [(target.name("message"), number % 2 == 0) for number in range(CALLERS)]
    return together_over(
        rounds,
        lambda one: target.chat(user, one[0], stream=one[1]),  # type: ignore[arg-type]  # a User
    )


def message_of(result: ChatResult) -> str:
    """What was asked."""
    return result.answer.request.body.decode().partition('"message": "')[2].partition('"')[0]


@claim(
    "deployment.stop.not-ready-at-once",
    proves=[promises.DRAINS, promises.READINESS, promises.SLOW_CALLERS],
    needs=[can.USERS, can.RESTART],
    env=IMPATIENT,
)
def test_after_sigterm_it_is_not_ready_but_alive_and_still_serves(target: Target) -> None:
    user = target.new_user()
    half = f"POST {http.WEBHOOKS.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"
    late: list[bytes] = []
    assert target.http.get(http.READY.path).status == 200

    with meanwhile(lambda: late.append(target.http.raw(half.encode(), timeout_s=ENDED_WITHIN_S))):
        told_s = now_s()
        target.terminate()
        ready = eventually(
            lambda: target.http.get(http.READY.path),
            until=lambda answer: answer.status != 200,
            within_s=1.5,
            claim="it is not ready as soon as it is told to stop",
        )
        live = target.http.get(http.LIVE.path)
        served = target.chat(user, "hello")
        closed = eventually(
            lambda: target.http.get(http.LIVE.path),
            until=lambda answer: answer.never_sent,
            within_s=ENDED_WITHIN_S,
            claim="it takes no new connections after its drain",
        )
        code = target.process.wait(ENDED_WITHIN_S)

    assert (ready.status, ready.code, live.status) == (503, "draining", 200)
    assert (served.is_whole, code) == (True, 0)
    assert closed.sent_s - told_s >= DRAIN_S
    assert late[0].startswith(b"HTTP/1.1 408 ")


@claim(
    "deployment.stop.streams-end-with-an-event",
    proves=[promises.DRAINS, promises.STREAM_ENDS_ONCE],
    needs=[can.USERS, can.SCRIPT, can.RESTART],
    env=NO_GRACE,
)
def test_a_stream_that_outlasts_the_grace_ends_with_an_error_event(target: Target) -> None:
    user = target.new_user("pro")
    provider = target.provider(target.providers[0])
    provider.reply(chunks=[f"piece {n} " for n in range(50)], chunk_delay_s=0.2)
    results: list[ChatResult] = []

    with meanwhile(lambda: results.append(target.chat(user, "hello", stream=True))):
        eventually(
            provider.journal,
            until=lambda calls: bool(calls) and calls[0].bytes_out > 0,
            within_s=5.0,
            claim="the stream has begun",
        )
        target.terminate()
        code = target.process.wait(ENDED_WITHIN_S)

    events = [event.event for event in results[0].events]
    assert (events[-1:], events.count("error"), events.count("done")) == (["error"], 1, 0)
    assert code == 1


@claim(
    "deployment.crash.leaves-no-worker",
    proves=[promises.WORKERS_RETURN],
    needs=[can.RESTART, can.WORKERS],
    workers=2,
)
def test_workers_whose_supervisor_is_killed_end_by_themselves(target: Target) -> None:
    workers = target.workers()

    target.process.signal(signal.SIGKILL)
    gone = eventually(
        lambda: target.http.get(http.LIVE.path),
        until=lambda answer: answer.never_sent,
        within_s=10.0,
        claim="nobody answers any more",
    )

    assert len(workers) == 2
    assert gone.error == "refused"


@claim(
    "deployment.worker-killed.is-replaced",
    proves=[promises.WORKERS_RETURN, promises.SERVED_BY],
    needs=[can.USERS, can.RESTART, can.WORKERS],
    workers=2,
)
def test_a_killed_worker_is_replaced_and_callers_are_served_all_along(target: Target) -> None:
    user = target.new_user("enterprise")
    before = target.workers()

    killed = target.kill_worker()
    results = [target.chat(user, "hello") for _ in range(20)]
    after = eventually(
        target.workers,
        until=lambda pids: len(set(pids)) == 2 and killed not in pids,
        within_s=10.0,
        claim="two workers serve again",
    )

    assert (killed in before, len(set(before) & set(after))) == (True, 1)
    # The kernel may have handed a connection to the dying worker; everybody after it is served.
    assert [one.status for one in results[-15:]] == [200] * 15


@claim(
    "deployment.worker-killed.again-and-again",
    proves=[promises.WORKERS_RETURN],
    needs=[can.RESTART, can.WORKERS],
    workers=2,
)
def test_a_worker_that_dies_again_and_again_is_replaced_each_time(target: Target) -> None:
    stays, dies = target.workers()

    for _ in range(DEATHS):
        target.kill_worker(dies)
        dies = beside(target, stays, dead=dies)

    assert set(target.workers()) == {stays, dies}


def beside(target: Target, stays: int, *, dead: int) -> int:
    """The worker that serves beside the one that stays, once it is not the dead one."""
    pids = eventually(
        target.workers,
        until=lambda pids: len(pids) == 2 and stays in pids and dead not in pids,
        within_s=15.0,
        claim="two workers serve again",
    )
    return next(pid for pid in pids if pid != stays)
