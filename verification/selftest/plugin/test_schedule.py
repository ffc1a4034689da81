"""The order of claims: configurations together, long ones first, random by the seed."""

from __future__ import annotations

from itertools import groupby, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verification.harness.schedule import LONG_S, Job, Unit, next_unit, soonest, units
from verification.selftest.plugin.inner_run import run

JOBS = st.lists(st.tuples(st.integers(0, 4), st.floats(0.1, 40.0)), max_size=40).map(
    lambda rows: [Job(str(number), *row) for number, row in enumerate(rows)]
)


@given(jobs=JOBS, workers=st.integers(1, 4), seed=st.integers(0, 99))
def test_every_job_stands_in_exactly_one_unit(jobs: list[Job], workers: int, seed: int) -> None:
    found = [job.key for unit in units(jobs, workers=workers, seed=seed) for job in unit]

    assert sorted(found) == sorted(job.key for job in jobs)


@given(jobs=JOBS, workers=st.integers(1, 4))
def test_a_unit_has_one_configuration(jobs: list[Job], workers: int) -> None:
    found = units(jobs, workers=workers, seed=1)

    assert all(len({job.configuration for job in unit}) == 1 for unit in found)


@given(jobs=JOBS)
def test_one_worker_meets_each_configuration_of_short_jobs_once(jobs: list[Job]) -> None:
    short = [job for job in jobs if job.seconds < LONG_S]

    found = [job for unit in units(short, workers=1, seed=1) for job in unit]

    met = [configuration for configuration, _ in groupby(found, key=lambda job: job.configuration)]
    assert len(met) == len(set(met))


def test_long_jobs_start_first_the_longest_of_all() -> None:
    jobs = [Job("a", 1, 1.0), Job("b", 1, 20.0), Job("c", 2, 60.0)]

    found = [[job.key for job in unit] for unit in units(jobs, workers=2, seed=3)]

    assert found == [["c"], ["b"], ["a"]]


def test_the_longest_configuration_of_short_jobs_comes_first() -> None:
    jobs = [Job("a", 1, 2.0), Job("b", 2, 3.0), Job("c", 1, 2.0), Job("d", 3, 1.0)]

    found = [job.configuration for unit in units(jobs, workers=1, seed=3) for job in unit]

    assert found == [1, 1, 2, 3]


def test_the_seed_decides_the_order() -> None:
    jobs = [Job(str(number), number, 1.0) for number in range(20)]

    assert units(jobs, workers=1, seed=1) == units(jobs, workers=1, seed=1)
    assert units(jobs, workers=1, seed=1) != units(jobs, workers=1, seed=2)


def test_a_large_configuration_is_cut_so_that_workers_can_share_it() -> None:
    jobs = [Job(str(number), "same", 2.0) for number in range(40)]

    assert len(units(jobs, workers=2, seed=1)) == 20


def test_what_is_likely_false_comes_first_and_the_long_ones_of_each_rank_last() -> None:
    jobs = [Job("a", 1, 60.0), Job("b", 1, 3.0), Job("c", 2, 1.0), Job("d", 1, 2.0)]
    likely = {"b": 0, "a": 0}

    found = [
        [job.key for job in unit] for unit in soonest(jobs, lambda job: likely.get(job.key, 1))
    ]

    assert found == [["b"], ["a"], ["c"], ["d"]]


A, B, C = (Unit(name, number, is_urgent=False) for number, name in enumerate("abc"))


def test_a_worker_goes_on_with_the_configuration_of_its_stack() -> None:
    assert next_unit([A, B, C], last="b", others=[]) == B


def test_a_worker_leaves_to_others_what_they_are_at_while_there_is_something_else() -> None:
    assert next_unit([A, B], last=None, others=["a"]) == B
    assert next_unit([A, B], last=None, others=["a", "b"]) == A


def test_a_worker_helps_where_most_is_left_for_each() -> None:
    long = [Unit("a", number, is_urgent=False) for number in range(5)]

    assert next_unit([*long, B], last=None, others=["a"]) == long[0]
    assert next_unit([*long, B], last=None, others=["a"] * 4) == long[0]
    assert next_unit([*long, B], last=None, others=["a"] * 5) == B


def test_an_urgent_unit_waits_for_nothing() -> None:
    urgent = Unit("a", 0, is_urgent=True)

    assert next_unit([urgent, B], last="b", others=["a"]) == urgent


def test_a_unit_is_known_by_the_name_of_its_group() -> None:
    for unit in (Unit("0a1b", 7, is_urgent=True), Unit("0a1b", 7, is_urgent=False)):
        assert Unit.of(unit.group) == unit
    assert Unit.of("test_file.py").configuration == "test_file.py"


TWO_CONFIGURATIONS = """
import os

def note(configuration):
    with open({folder!r} + "/" + os.environ["PYTEST_XDIST_WORKER"], "a") as notes:
        notes.write(configuration)

@claim("claims.a", proves=[p.CORS])
@pytest.mark.parametrize("case", range(8))
def test_a(case): note("a")

@claim("claims.b", proves=[p.CORS], workers=2)
@pytest.mark.parametrize("case", range(8))
def test_b(case): note("b")
"""


@pytest.mark.end_to_end
@pytest.mark.timeout(120)
def test_xdists_workers_begin_apart_and_leave_their_configuration_once(tmp_path: Path) -> None:
    claims = TWO_CONFIGURATIONS.format(folder=str(tmp_path))

    ran = run(tmp_path, claims, "-n2", apart=True)

    met = [(tmp_path / worker).read_text() for worker in ("gw0", "gw1")]
    assert sorted("".join(met)) == ["a"] * 8 + ["b"] * 8
    assert {order[0] for order in met} == {"a", "b"}
    assert all(sum(one != other for one, other in pairwise(order)) <= 1 for order in met), met
    assert [row["id"] for row in ran.readiness["claims"]] == ["claims.a", "claims.b"]
