"""The experiments are values that anybody can list, plan and choose."""

from __future__ import annotations

import pytest

from chaos.catalogue import UnknownExperimentError, catalogue, select
from chaos.experiment import Expectation, Experiment
from chaos.plan import listed, planned
from verification.contract import promises
from verification.harness import capabilities
from verification.harness.mutation.mutant import read_mutants
from verification.harness.stack.programs import ROOT

EXPERIMENTS = catalogue()
MUTANTS = {mutant.id for mutant in read_mutants(ROOT / "verification" / "mutants")}


def test_there_are_twelve_at_least() -> None:
    assert len(EXPERIMENTS) >= 12


@pytest.mark.parametrize("one", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_each_claims_names_its_promises_and_needs_what_there_is(one: Experiment) -> None:
    assert one.claim[:1].islower()
    assert one.checkers
    assert {promise.id for promise in one.proves} <= promises.EVERY.keys()
    assert set(one.needs) <= capabilities.EVERY


@pytest.mark.parametrize("one", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_each_names_the_mutant_that_turns_it_red(one: Experiment) -> None:
    tries_the_runner = one.expects is Expectation.NO_BITE

    assert bool(one.mutants) is not tries_the_runner
    assert set(one.mutants) <= MUTANTS


@pytest.mark.parametrize("one", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_each_is_bounded(one: Experiment) -> None:
    assert one.limits.operations <= 5000
    assert one.limits.seconds + one.recovery_s <= 120


def test_no_two_claim_the_same() -> None:
    claims = [one.claim for one in EXPERIMENTS.values()]

    assert len(claims) == len(set(claims))


def test_one_is_chosen_by_name_and_by_mutant() -> None:
    name, one = next((name, one) for name, one in EXPERIMENTS.items() if one.mutants)

    assert list(select([name])) == [name]
    assert name in select(mutant=one.mutants[0])


@pytest.mark.parametrize(
    ("only", "mutant", "said"),
    [
        (["no_such"], None, r"--only expects names of experiments .*, got no_such"),
        ([], "no-such", r"no experiment names 'no-such' as its mutant"),
    ],
)
def test_a_wrong_name_is_refused_with_what_was_expected(
    only: list[str], mutant: str | None, said: str
) -> None:
    with pytest.raises(UnknownExperimentError, match=said):
        select(only, mutant)


def test_the_plan_says_what_is_touched_how_long_and_how_it_is_undone() -> None:
    text = planned(EXPERIMENTS)

    for one in EXPERIMENTS.values():
        assert one.nemesis.touches in text
        assert one.nemesis.undone_by in text
    assert text.count("\n  at most ") == len(EXPERIMENTS)


def test_the_plan_for_a_target_leaves_out_what_it_lacks() -> None:
    name, *others = EXPERIMENTS

    text = planned(EXPERIMENTS, "staging", {name: ["faults"]})

    assert text.startswith(f"{len(others)} of {len(EXPERIMENTS)} experiments on staging")
    assert text.endswith(f"{name}: not performed, for want of faults")


def test_the_list_has_a_line_for_each() -> None:
    assert len(listed(EXPERIMENTS).splitlines()) == len(EXPERIMENTS)
