"""What a history says of an experiment: true, false or unknown, and to whom a red belongs.

Pure: it reads what the runner wrote down, so that a kept history can be judged again by today's
checkers. The order matters: where the environment broke, nobody else is accused; a fault that
did not bite proves nothing; a service that is not well again after a proven healing broke its
promise, whatever the callers saw. Source: DESIGN sections 5 and 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from chaos.experiment import Expectation, Phase
from chaos.steady_state import STEADY
from verification.checkers.nemesis_spans import NEMESIS
from verification.checkers.streams import slowest_control_s
from verification.history import Outcome
from verification.verdict import judged

if TYPE_CHECKING:
    from chaos.experiment import Experiment
    from verification.history import History, Operation
    from verification.verdict import Verdict

TROUBLE: Final = "trouble"
# A control that took so long says that the machine stood still, not the service.
CONTROL_S_MAX: Final = 1.0


class Word(StrEnum):
    """What is said of an experiment, from worst to best."""

    FALSE = "false"
    UNKNOWN = "unknown"
    UNVERIFIED = "unverified"
    TRUE = "true"


class Owner(StrEnum):
    """To whom a red belongs."""

    SERVICE = "service"
    SUITE = "suite"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The word, why in one line, to whom it belongs unless it is true, and each checker's word."""

    word: Word
    why: str
    owner: Owner | None = None
    verdicts: tuple[Verdict, ...] = ()


def judge(experiment: Experiment, history: History) -> Judgement:
    """What the history says of the experiment."""
    found = _judge(experiment, history)
    if experiment.expects is Expectation.HOLDS:
        return found
    did_not_bite = [one for one in history.of(NEMESIS) if one.outcome is Outcome.FAIL]
    if found.word is Word.UNKNOWN and did_not_bite:
        return Judgement(Word.TRUE, f"reported unknown, as it must be: {found.why}")
    why = f"its fault cannot have bitten, yet it is {found.word}: {found.why}"
    return Judgement(Word.FALSE, why, Owner.SUITE, found.verdicts)


def _judge(experiment: Experiment, history: History) -> Judgement:
    verdicts = tuple(judged(experiment.claim, one, history) for one in experiment.checkers)
    for rule in RULES:
        if found := rule(history, verdicts):
            return replace(found, verdicts=verdicts)
    return Judgement(Word.TRUE, "; ".join(one.claim for one in verdicts), None, verdicts)


Verdicts = Sequence["Verdict"]


def _environment_broke(history: History, _: Verdicts) -> Judgement | None:
    return _trouble(history, Owner.ENVIRONMENT)


def _was_ill_before(history: History, _: Verdicts) -> Judgement | None:
    steady = _steady(history, Phase.BEFORE)
    if steady is None:
        return _trouble(history, Owner.SUITE) or _unknown("nobody looked before the fault")
    if steady.outcome is Outcome.OK:
        return None
    return _unknown(f"not well before the fault: {steady.value['wrong']}", Owner.SERVICE)


def _fault_failed(history: History, _: Verdicts) -> Judgement | None:
    """It never came, did not bite, or nobody saw it healed."""
    faults = history.of(NEMESIS)
    for one in faults:
        if one.outcome is Outcome.FAIL:
            return _unknown(f"the fault did not bite: {one.value['met']}")
        if one.outcome is Outcome.INFO:
            why = f"the fault was not seen healed: {one.value['met']}"
            return _unknown(why, Owner.ENVIRONMENT)
    if not faults:
        return _trouble(history, Owner.SUITE) or _unknown("the fault never came")
    return None


def _a_checker_accuses(_: History, verdicts: Verdicts) -> Judgement | None:
    false = [one for one in verdicts if one.valid is False]
    return Judgement(Word.FALSE, _told(false[0]), Owner.SERVICE) if false else None


def _is_not_well_again(history: History, _: Verdicts) -> Judgement | None:
    steady = _steady(history, Phase.AFTER)
    if steady is None:
        return _trouble(history, Owner.SUITE) or _unknown("nobody looked whether it is well again")
    if steady.outcome is Outcome.OK:
        return None
    late = f"not well {steady.value['within_s']:g} s after the fault was healed"
    return Judgement(Word.FALSE, f"{late}: {steady.value['wrong']}", Owner.SERVICE)


def _the_suite_broke(history: History, _: Verdicts) -> Judgement | None:
    return _trouble(history, Owner.SUITE) or _trouble(history, Owner.SERVICE)


def _a_checker_does_not_know(history: History, verdicts: Verdicts) -> Judgement | None:
    vague = [one for one in verdicts if one.valid is None]
    is_busy = slowest_control_s(history) > CONTROL_S_MAX
    owner = Owner.ENVIRONMENT if is_busy else Owner.SUITE
    return _unknown(_told(vague[0]), owner) if vague else None


RULES: Final[tuple[Callable[[History, Verdicts], Judgement | None], ...]] = (
    _environment_broke,
    _was_ill_before,
    _fault_failed,
    _a_checker_accuses,
    _is_not_well_again,
    _the_suite_broke,
    _a_checker_does_not_know,
)
"""The first that has something to say, says it."""


def _unknown(why: str, owner: Owner = Owner.SUITE) -> Judgement:
    return Judgement(Word.UNKNOWN, why, owner)


def _trouble(history: History, owner: Owner) -> Judgement | None:
    for one in history.of(TROUBLE):
        if one.value.get("owner") == owner:
            return Judgement(Word.UNKNOWN, str(one.value.get("what")), owner)
    return None


def _steady(history: History, phase: Phase) -> Operation | None:
    seen = [one for one in history.of(STEADY) if one.value.get("phase") == phase]
    return seen[-1] if seen else None


def _told(verdict: Verdict) -> str:
    return f"{verdict.claim}: {verdict.first}" if verdict.first else verdict.claim
