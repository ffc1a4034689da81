"""Performs one experiment, and writes down what happened; judging is for judgement.py.

Steady state, workload, fault with proof of bite and of healing, steady state again, reads. The
fault is a context: whatever happens inside, an error of the suite or a signal, it is healed on
the way out, in reverse order, and the undo file had it before it was done. One of the three
places that catch every exception: it turns them into operations that say whose trouble it is.
"""

from __future__ import annotations

import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import redis

from chaos.experiment import Experiment, Moment, Phase
from chaos.judgement import TROUBLE, Owner
from chaos.steady_state import BEFORE_WITHIN_S, await_steady
from chaos.watching import watch
from verification.checkers.faults_seen import FAULT
from verification.checkers.nemesis_spans import NEMESIS
from verification.harness.faults import FaultDidNotBiteError, FaultNotHealedError
from verification.harness.metrics_view import MetricsUnreadableError
from verification.harness.processes import ChildError
from verification.harness.simulated import SimulatorError
from verification.harness.stack.model import ServiceDidNotStartError, StackError
from verification.harness.toxiproxy_link import ToxiproxyError
from verification.harness.waiting import came_true, now_s
from verification.history import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.apparatus import Apparatus

RUNNER: Final = "runner"
# What stands around the service is gone or does something else than it was told.
ENVIRONMENT: Final = (
    StackError,
    ChildError,
    ToxiproxyError,
    SimulatorError,
    FaultNotHealedError,
    redis.RedisError,
    OSError,
)
# Polled while callers run: seldom enough to leave the machine to them.
LOOK_EVERY_S: Final = 0.03


class MomentNeverCameError(Exception):
    """The experiment's limits were reached before what it waited for."""


def perform(experiment: Experiment, apparatus: Apparatus) -> None:
    """Perform the experiment; what went wrong stands in the history, too.

    Raises: nothing but what interrupts the run (KeyboardInterrupt and its like), after healing.
    """
    try:
        if not await_steady(apparatus, Phase.BEFORE, BEFORE_WITHIN_S):
            return
        try:
            with watch(apparatus):
                _under_load(experiment, apparatus)
        except MomentNeverCameError as error:
            _note_trouble(apparatus, error)  # what was seen may accuse somebody all the same
        for read in experiment.reads:
            read.take(apparatus)
    except FaultDidNotBiteError:
        return  # its nemesis says so
    except BaseException as error:
        _note_trouble(apparatus, error)
        if not isinstance(error, Exception):
            raise


def _under_load(experiment: Experiment, apparatus: Apparatus) -> None:
    deadline_s = now_s() + experiment.limits.seconds
    with experiment.workload.run(apparatus):
        _await(experiment.strikes, apparatus, deadline_s)
        with _struck(experiment, apparatus):
            apparatus.enter(Phase.DURING)
            _await(experiment.heals, apparatus, deadline_s)
        apparatus.enter(Phase.AFTER)
        await_steady(apparatus, Phase.AFTER, experiment.recovery_s)
        _await(experiment.ends, apparatus, deadline_s)


def _await(moment: Moment, apparatus: Apparatus, deadline_s: float) -> None:
    within_s = max(0.0, deadline_s - now_s())
    came_true(
        lambda: moment.has_come(apparatus) or apparatus.is_spent,
        within_s=within_s,
        every_s=LOOK_EVERY_S,
    )
    if not moment.has_come(apparatus):
        raise MomentNeverCameError(
            f"{apparatus.phase}: {moment.says} did not come within the experiment's limits "
            f"({apparatus.limits.seconds:g} s, {apparatus.limits.operations} operations)"
        )


@dataclass(slots=True)
class _Blow:
    """What is known of one fault so far."""

    asked_s: float
    bites_s: float | None = None
    heals_s: float | None = None
    met: str = ""


@contextmanager
def _struck(experiment: Experiment, apparatus: Apparatus) -> Iterator[None]:
    """Hold the nemesis, and write down how it went on every way out."""
    blow = _Blow(now_s())
    outcome = Outcome.INFO
    try:
        with experiment.nemesis.hold(apparatus) as met:
            blow.bites_s, blow.met = now_s(), told(met)
            try:
                yield
            finally:
                blow.heals_s = now_s()
        outcome = Outcome.OK
    except FaultDidNotBiteError as error:
        outcome, blow.met = Outcome.FAIL, str(error)
        raise
    except BaseException as error:
        is_healed = blow.heals_s is not None and not isinstance(error, ENVIRONMENT)
        outcome = Outcome.OK if is_healed else Outcome.INFO
        raise
    finally:
        _note_blow(experiment, apparatus, blow, outcome)


def told(met: object) -> str:
    """What probes met, in words."""
    return ", ".join(map(told, met)) if isinstance(met, list) else str(met)


def _note_blow(experiment: Experiment, apparatus: Apparatus, blow: _Blow, outcome: Outcome) -> None:
    nemesis = experiment.nemesis
    times = {"bites_s": blow.bites_s, "heals_s": blow.heals_s}
    apparatus.note(
        NEMESIS,
        process=RUNNER,
        since_s=blow.asked_s,
        outcome=outcome,
        name=nemesis.name,
        does=nemesis.does,
        met=blow.met,
        **{name: at_s for name, at_s in times.items() if at_s is not None},
    )
    if outcome is Outcome.FAIL:
        return
    for kind in nemesis.accounts:
        apparatus.note(FAULT, process=RUNNER, since_s=blow.asked_s, outcome=outcome, kind=kind)


def _note_trouble(apparatus: Apparatus, error: BaseException) -> None:
    with suppress(Exception):
        apparatus.note(
            TROUBLE,
            process=RUNNER,
            since_s=now_s(),
            outcome=Outcome.INFO,
            owner=owner_of(error).value,
            what=f"{type(error).__name__}: {error}",
            trace="".join(traceback.format_exception(error)),
        )


def owner_of(error: BaseException) -> Owner:
    """Whose trouble an error is: the service's, what stands around it, or our own."""
    if isinstance(error, BaseExceptionGroup):
        owners = {owner_of(one) for one in error.exceptions}
        return next(one for one in (Owner.SUITE, Owner.ENVIRONMENT, Owner.SERVICE) if one in owners)
    if isinstance(error, ServiceDidNotStartError | MetricsUnreadableError):
        return Owner.SERVICE
    if isinstance(error, ENVIRONMENT) or not isinstance(error, Exception):
        return Owner.ENVIRONMENT
    return Owner.SUITE
