"""The runner on real links before a stand-in for the service: what it refuses, proves and heals."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from chaos import stacks
from chaos.apparatus import Apparatus
from chaos.campaign import Campaign
from chaos.experiment import Experiment, Limits, Moment, Nemesis, Workload, after
from chaos.judgement import Owner, Word
from chaos.kept import Result, read
from chaos.nemeses.misplaced import slow_a_road_that_nobody_takes
from chaos.nemeses.redis import hang_redis
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import AnswersAsPromised
from verification.contract import promises
from verification.harness.fixtures import Lender
from verification.harness.stack.programs import ROOT
from verification.history import History, Outcome

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120)]

STAND_IN = ROOT / "verification" / "selftest" / "stack" / "stand_in"
HOLDS = Experiment(
    claim="the stand-in does not mind",
    source="chaos/selftest",
    proves=(promises.REDIS_AWAY,),
    workload=chat_callers(Callers(count=2, every_s=0.02, streaming=0.5)),
    nemesis=hang_redis(),
    strikes=after(2),
    heals=after(3),
    ends=after(2),
    checkers=(AnswersAsPromised(),),
    mutants=(),
    limits=Limits(seconds=20.0),
)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Campaign, Lender]]:
    """A campaign on stacks with the stand-in, all of one configuration."""
    folder = tmp_path_factory.mktemp("campaign")
    made = Campaign(
        reports=folder / "reports",
        seed=1,
        make_lender=lambda run_id: stacks.local("processes", run_id),
        undo_folder=folder / "undo",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMHIVE_SERVICE_PYTHON", sys.executable)
        patch.setenv("LLMHIVE_OVERLAY", str(STAND_IN))
        with made.prepared() as lender:
            yield made, lender
    assert list((folder / "undo").iterdir()) == []


Perform = Callable[[Experiment], tuple[Result, History]]


@pytest.fixture
def perform(campaign: tuple[Campaign, Lender], request: pytest.FixtureRequest) -> Perform:
    """Performs an experiment and gives the result with the history that was kept."""
    made, lender = campaign

    def performed(experiment: Experiment) -> tuple[Result, History]:
        result = made.perform(request.node.name, experiment, lender)
        kept = (result.folder / "history.jsonl").exists()
        return result, read(result.folder)[1] if kept else History()

    return performed


def outcomes(history: History, f: str) -> list[Outcome]:
    """How the operations of a kind ended."""
    return [one.outcome for one in history.of(f)]


def broken(error: Exception) -> Moment:
    """A moment that is written wrongly."""

    def has_come(_: Apparatus) -> bool:
        raise error

    return Moment("never", has_come)


def test_a_fault_is_proven_healed_and_its_times_are_kept(perform: Perform) -> None:
    result, history = perform(HOLDS)

    (nemesis,) = history.of("nemesis")
    assert (result.word, nemesis.outcome) == (Word.TRUE, Outcome.OK), result.why
    assert nemesis.value["met"].startswith("silent after")
    assert (
        nemesis.started_s < nemesis.value["bites_s"] < nemesis.value["heals_s"] < nemesis.finished_s
    )


def test_a_fault_that_does_not_bite_is_unknown_whatever_callers_saw(perform: Perform) -> None:
    misplaced = dataclasses.replace(HOLDS, nemesis=slow_a_road_that_nobody_takes(ms=400))

    result, history = perform(misplaced)

    assert (result.word, result.owner) == (Word.UNKNOWN, Owner.SUITE)
    assert outcomes(history, "nemesis") == [Outcome.FAIL]
    assert "the fault did not bite" in result.why


def test_an_error_in_the_middle_of_a_fault_heals_it_first(perform: Perform) -> None:
    result, history = perform(dataclasses.replace(HOLDS, heals=broken(LookupError("mistyped"))))

    assert (result.word, result.owner) == (Word.UNKNOWN, Owner.SUITE)
    assert outcomes(history, "nemesis") == [Outcome.OK]
    assert "LookupError: mistyped" in result.why


def test_a_moment_that_never_comes_is_the_suites_trouble(perform: Perform) -> None:
    never = Moment("when pigs fly", lambda _: False)
    short = Limits(seconds=1.0)

    result, history = perform(dataclasses.replace(HOLDS, heals=never, limits=short))

    assert (result.word, result.owner) == (Word.UNKNOWN, Owner.SUITE)
    assert "during: when pigs fly did not come" in result.why
    assert outcomes(history, "nemesis") == [Outcome.OK]


def test_callers_that_break_are_the_suites_trouble(perform: Perform) -> None:
    @contextmanager
    def breaks(_: Apparatus) -> Iterator[None]:
        yield
        raise LookupError("a caller broke")

    workload = Workload(says="callers", needs=(), run=breaks)
    never_asked = dataclasses.replace(HOLDS, workload=workload, strikes=after(0), heals=after(0))

    result, _ = perform(dataclasses.replace(never_asked, ends=after(0)))

    assert (result.word, result.owner) == (Word.UNKNOWN, Owner.SUITE)


def test_without_a_steady_state_nothing_is_touched(perform: Perform) -> None:
    def ill(apparatus: Apparatus) -> AbstractContextManager[object]:
        raise AssertionError(f"touched {apparatus.name}")

    nemesis = Nemesis(name="n", does="d", touches="t", undone_by="u", needs=(), hold=ill)
    too_many = dataclasses.replace(HOLDS, nemesis=nemesis, workers=1)

    result, history = perform(dataclasses.replace(too_many, env={"STAND_IN_PROBLEM": "it is ill"}))

    assert (result.word, result.owner) == (Word.UNKNOWN, Owner.SERVICE)
    assert (list(history), "STAND_IN_PROBLEM: it is ill" in result.why) == ([], True)


def test_an_unmet_need_is_unverified_and_nothing_is_begun(perform: Perform) -> None:
    needs = dataclasses.replace(HOLDS.workload, needs=("telepathy",))

    result, history = perform(dataclasses.replace(HOLDS, workload=needs))

    assert (result.word, result.why) == (Word.UNVERIFIED, "this target lacks telepathy")
    assert list(history) == []


def test_secrets_are_masked_in_what_is_kept(perform: Perform) -> None:
    result, _ = perform(HOLDS)

    kept = "".join(path.read_text("utf-8") for path in Path(result.folder).iterdir())
    assert "canary" not in kept
