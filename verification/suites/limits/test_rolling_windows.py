"""At most L requests in any rolling W seconds, and none refused while there is room."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from verification.checkers.rate_window import KeepsTheWindow, RetryAfterIsHonest
from verification.contract import promises, tiers
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.http_client import Http
from verification.harness.target import Target, User
from verification.harness.waiting import let_pass, meanwhile, together_over
from verification.history import History, Operation, Outcome
from verification.suites.limits.callers import (
    at_each_worker,
    burst,
    bursts,
    decided_together,
    in_turn,
    paced,
    require_every_worker,
    waits_as_told,
)
from verification.suites.limits.scales import CALM, FREE, SHIFTABLE, SHORT, STEADY, WINDOW_S

NEEDS = [can.USERS, can.METRICS, can.SHRINK, can.REDIS_READ]
EXACT = [promises.ROLLING_WINDOW, promises.NEVER_WRONGLY_REFUSED]
# How a user presses: so many at once, again after these parts of a window.
PRESSING = {"often": (6, [1 / 4] * 7), "idle for more than half": (20, [0.6, 0.6, 0.6])}


def was_ok(operation: Operation) -> bool:
    """Whether a request was answered in full."""
    return operation.outcome is Outcome.OK


@claim(
    "limits.window.two-workers",
    proves=[*EXACT, promises.LIMIT_OVER_WORKERS],
    needs=NEEDS,
    env=SHORT,
    workers=2,
)
def test_two_workers_together_admit_the_limit_in_any_rolling_window_and_no_less(
    target: Target, history: History
) -> None:
    pressing = [(target.new_user(), size, parts) for size, parts in PRESSING.values()]
    turning = target.new_user()

    def press(user: User, size: int, parts: list[float]) -> None:
        pauses_s = [part * WINDOW_S for part in parts]
        bursts(target, user, history, size=size, pauses_s=pauses_s)

    def turn(https: list[Http]) -> None:
        in_turn(target, turning, history, https=https, each=FREE.requests)

    with at_each_worker(target) as https, decided_together(target):
        acts: list[Callable[[], None]] = [partial(press, *one) for one in pressing]
        acts.append(partial(turn, https))
        together_over(acts, lambda act: act())
        require_every_worker(target, history)
        KeepsTheWindow(FREE.requests, WINDOW_S, workers=2)(history).require()


@pytest.mark.timeout(180)
@claim(
    "limits.window.default-scale",
    proves=[*EXACT, promises.RETRY_AFTER],
    needs=NEEDS,
    env=CALM,
    workers=2,
)
def test_at_the_default_scale_the_window_rolls_and_retry_after_tells_when(
    target: Target, history: History
) -> None:
    limit, pressing, spread = FREE.requests, target.new_user(), target.new_user()
    steady = target.new_user(STEADY.name)
    half_s = 2 * tiers.WINDOW_S / STEADY.requests

    with (
        at_each_worker(target) as https,
        decided_together(target),
        meanwhile(lambda: in_turn(target, steady, history, https=https, each=1)),
        meanwhile(lambda: target.chat(pressing, "Hello", history=history), every_s=0.3),
        meanwhile(lambda: target.chat(steady, "Hello", history=history), every_s=half_s),
    ):
        paced(target, spread, history, every_s=1.0, for_s=float(limit))
        waits_as_told(target, spread, history)
        let_pass(1.0, because="whoever pressed from the start has room by now")

    require_every_worker(target, history)
    own = History(one for one in history if one.value["user"] != steady.id)
    KeepsTheWindow(limit, tiers.WINDOW_S, workers=2)(own).require()
    RetryAfterIsHonest(tiers.WINDOW_S, limit)(own).require()
    assert [str(one) for one in history if one.value["user"] == steady.id and not was_ok(one)] == []


@claim("limits.window.steady-half", proves=EXACT, needs=NEEDS, env=SHORT, workers=2)
def test_a_steady_caller_at_half_the_limit_is_never_refused_over_three_windows(
    target: Target, history: History
) -> None:
    user, every_s = target.new_user(), 2 * WINDOW_S / FREE.requests

    with decided_together(target):
        results = paced(target, user, history, every_s=every_s, for_s=3 * WINDOW_S)

    assert [str(one.answer) for one in results if one.status != 200] == []


@claim("limits.window.refusals-cost-nothing", proves=EXACT, needs=NEEDS, env=SHORT, workers=2)
def test_a_caller_that_goes_on_while_refused_waits_no_longer_for_it(
    target: Target, history: History
) -> None:
    user = target.new_user()

    with decided_together(target):
        paced(target, user, history, every_s=0.05, for_s=1.5 * WINDOW_S)
        KeepsTheWindow(FREE.requests, WINDOW_S, workers=2)(history).require()


@claim(
    "limits.window.stepped-clock",
    proves=[promises.WINDOWS_BY_REDIS_TIME],
    needs=[*NEEDS, can.CLOCK],
    env=SHIFTABLE,
    workers=2,
    faults=("clock",),
)
def test_stepping_the_wall_clock_of_the_workers_moves_no_window(
    target: Target, history: History
) -> None:
    user = target.new_user()

    with decided_together(target):
        burst(target, user, history, FREE.requests)
        for windows_ahead in (3.0, -3.0, 0.5):
            target.shift_clock(windows_ahead * WINDOW_S)
            burst(target, user, history, FREE.requests // 2)
        bursts(target, user, history, size=6, pauses_s=[WINDOW_S / 2, WINDOW_S / 2])
        KeepsTheWindow(FREE.requests, WINDOW_S, workers=2)(history).require()
