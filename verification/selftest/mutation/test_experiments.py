"""Experiments of chaos as detectors: found by the mutant's name, judged by their results."""

from __future__ import annotations

import json
from pathlib import Path

from verification.harness.mutation.experiments import PREFIX, naming, run_experiments
from verification.harness.mutation.judge import Claims, together


def test_a_mutant_is_asked_of_the_experiments_that_name_it() -> None:
    assert naming("rl-redis-waited-for") == ("slow_redis_keeps_chat_inside_its_bound",)


def test_a_mutant_that_none_names_is_asked_of_none() -> None:
    assert naming("no-such-mutant") == ()


def test_experiments_that_cannot_be_run_have_caught_nothing(tmp_path: Path) -> None:
    verdict, by_verdict, output = run_experiments(tmp_path, [f"{PREFIX}no_such"])

    assert (verdict, by_verdict) == ("unknown", {})
    assert "--only expects names of experiments" in output


def test_results_of_before_do_not_pass_for_those_of_now(tmp_path: Path) -> None:
    old = {"answer": "no go", "experiments": [{"word": "false", "name": "old"}]}
    (tmp_path / "results.json").write_text(json.dumps(old))

    assert run_experiments(tmp_path, [f"{PREFIX}no_such"])[0] == "unknown"


def test_claims_and_experiments_together_have_the_worst_verdict() -> None:
    claims = Claims("pass", {"true": ("a", "b")}, "one")
    chaos = Claims("unknown", {"true": ("chaos.c",), "unknown": ("chaos.d",)}, "two")

    both = together([claims, chaos])

    assert both.verdict == "unknown"
    assert both.by_verdict == {"true": ("a", "b", "chaos.c"), "unknown": ("chaos.d",)}
    assert together([]).verdict == "unknown"
