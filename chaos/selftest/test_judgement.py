"""What a history says of an experiment, and to whom a red belongs: pure, case by case."""

from __future__ import annotations

import dataclasses

import pytest

from chaos.apparatus import Apparatus
from chaos.experiment import Expectation, Experiment, Nemesis, Workload, after, both
from chaos.judgement import Owner, Word, judge
from verification.contract import promises
from verification.harness.undo import UndoLog
from verification.history import History, Outcome
from verification.verdict import Checker, Verdict, holds, unknown

TRUE = holds("it holds")
FALSE = Verdict(False, "it holds", first="it broke")
VAGUE = unknown("it holds", "nothing was seen")


def never(_: Apparatus) -> object:
    """These tests judge, and perform nothing."""
    raise NotImplementedError


NEMESIS = Nemesis(
    name="hang_redis",
    does="Redis hangs",
    touches="a link",
    undone_by="a removal",
    needs=("faults",),
    hold=never,  # type: ignore[arg-type]  # it is never held
)


def saying(verdict: Verdict) -> Checker:
    """A checker that says just that."""
    return lambda _: verdict


def experiment(*verdicts: Verdict, expects: Expectation = Expectation.HOLDS) -> Experiment:
    """An experiment whose checkers say just that."""
    return Experiment(
        claim="it holds",
        source="a test",
        proves=(promises.REDIS_AWAY,),
        workload=Workload(says="callers", needs=("users",), run=never),  # type: ignore[arg-type]  # idem
        nemesis=NEMESIS,
        strikes=after(1),
        heals=after(1),
        ends=after(1),
        checkers=tuple(map(saying, verdicts)),
        mutants=(),
        expects=expects,
    )


def performed(
    *,
    before: Outcome | None = Outcome.OK,
    fault: Outcome | None = Outcome.OK,
    again: Outcome | None = Outcome.OK,
    trouble: Owner | None = None,
) -> History:
    """A run, with the parts that are not None."""
    history = History()
    steady = {"before": before, "after": again}
    for phase, outcome in steady.items():
        if outcome is not None:
            value = {"phase": phase, "wrong": "health says degraded", "within_s": 20.0}
            history.add(
                process="runner",
                f="steady",
                value=value,
                outcome=outcome,
                started_s=0.0,
                finished_s=1.0,
            )
    if fault is not None:
        value = {"name": "hang_redis", "met": "silence", "bites_s": 1.1, "heals_s": 1.9}
        history.add(
            process="runner",
            f="nemesis",
            value=value,
            outcome=fault,
            started_s=1.0,
            finished_s=2.0,
        )
    if trouble is not None:
        value = {"owner": trouble.value, "what": "SomeError: it broke"}
        history.add(
            process="runner",
            f="trouble",
            value=value,
            outcome="info",
            started_s=3.0,
            finished_s=3.0,
        )
    return history


CASES = {
    "all is well": (performed(), TRUE, Word.TRUE, None),
    "a checker accuses": (performed(), FALSE, Word.FALSE, Owner.SERVICE),
    "a checker does not know": (performed(), VAGUE, Word.UNKNOWN, Owner.SUITE),
    "not well before": (
        performed(before=Outcome.FAIL, fault=None, again=None),
        VAGUE,
        Word.UNKNOWN,
        Owner.SERVICE,
    ),
    "the fault did not bite": (
        performed(fault=Outcome.FAIL, again=None),
        TRUE,
        Word.UNKNOWN,
        Owner.SUITE,
    ),
    "the fault was not seen healed": (
        performed(fault=Outcome.INFO, again=None),
        FALSE,
        Word.UNKNOWN,
        Owner.ENVIRONMENT,
    ),
    "the fault never came": (performed(fault=None), TRUE, Word.UNKNOWN, Owner.SUITE),
    "not well again": (performed(again=Outcome.FAIL), TRUE, Word.FALSE, Owner.SERVICE),
    "nobody looked again": (performed(again=None), TRUE, Word.UNKNOWN, Owner.SUITE),
    "the environment broke and a checker accuses": (
        performed(trouble=Owner.ENVIRONMENT),
        FALSE,
        Word.UNKNOWN,
        Owner.ENVIRONMENT,
    ),
    "the suite broke": (performed(trouble=Owner.SUITE), TRUE, Word.UNKNOWN, Owner.SUITE),
    "the suite broke and a checker accuses": (
        performed(trouble=Owner.SUITE),
        FALSE,
        Word.FALSE,
        Owner.SERVICE,
    ),
    "the service did not start": (
        performed(trouble=Owner.SERVICE),
        TRUE,
        Word.UNKNOWN,
        Owner.SERVICE,
    ),
}


@pytest.mark.parametrize(("history", "said", "word", "owner"), CASES.values(), ids=CASES)
def test_a_red_belongs_to_somebody(
    history: History, said: Verdict, word: Word, owner: Owner | None
) -> None:
    judged = judge(experiment(said), history)

    assert (judged.word, judged.owner) == (word, owner)


def test_of_several_checkers_the_worst_is_told() -> None:
    judged = judge(experiment(TRUE, VAGUE, FALSE), performed())

    assert (judged.word, judged.why) == (Word.FALSE, "it holds: it broke")


def test_a_busy_machine_takes_the_blame_for_what_nobody_can_say() -> None:
    history = performed()
    history.add(process="watch", f="control", outcome="ok", started_s=0.0, finished_s=1.5)

    assert judge(experiment(VAGUE), history).owner is Owner.ENVIRONMENT


def test_a_checker_that_crashes_is_no_pass() -> None:
    def crashes(_: History) -> Verdict:
        raise LookupError

    broken = dataclasses.replace(experiment(), checkers=(crashes,))

    judged = judge(broken, performed())

    assert (judged.word, judged.owner) == (Word.UNKNOWN, Owner.SUITE)


NO_BITE = {
    "it did not bite and that was noticed": (performed(fault=Outcome.FAIL, again=None), Word.TRUE),
    "it bit": (performed(), Word.FALSE),
    "a runner that takes every fault for bitten": (performed(fault=Outcome.OK), Word.FALSE),
    "it never came": (performed(fault=None), Word.FALSE),
}


@pytest.mark.parametrize(("history", "word"), NO_BITE.values(), ids=NO_BITE)
def test_the_experiment_made_to_fail_holds_only_when_it_is_reported_unknown(
    history: History, word: Word
) -> None:
    judged = judge(experiment(TRUE, expects=Expectation.NO_BITE), history)

    assert judged.word is word
    assert judged.owner is (None if word is Word.TRUE else Owner.SUITE)


def test_two_faults_at_once_need_what_both_need_and_are_undone_in_reverse() -> None:
    other = dataclasses.replace(NEMESIS, name="b", undone_by="b's", needs=("script",))

    one = both(NEMESIS, other)

    assert (one.needs, one.undone_by) == (("faults", "script"), "b's, then a removal")


def test_choices_are_the_same_for_the_same_seed_and_others_for_another(log: UndoLog) -> None:
    def drawn(seed: int, who: str) -> float:
        made = Apparatus(
            name="an_experiment",
            target=None,  # type: ignore[arg-type]  # nothing is asked
            history=History(),
            undo_log=log,
            seed=seed,
            limits=experiment().limits,
        )
        return made.chance(who).random()

    assert drawn(1, "a") == drawn(1, "a")
    assert len({drawn(1, "a"), drawn(2, "a"), drawn(1, "b")}) == 3
