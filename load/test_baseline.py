"""Slower than before: an exact law, checked by counting, and refusals of what is no comparison."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pytest

from load import baseline, known_truths
from load.baseline import BaselineError, Reference
from verification.contract.load import load_targets
from verification.verdict import Verdict

BOUNDS = load_targets().baseline


def by_counting(k: int, m: int, earlier: Reference) -> float:
    """Of all ways to mix `m` new requests into the earlier ones, those with `k` or more beyond."""
    n, rank = earlier.n, earlier.n - earlier.beyond
    ways = list(combinations(range(n + m), m))
    hits = 0
    for new in ways:
        old = [place for place in range(n + m) if place not in set(new)]
        hits += sum(place > old[rank - 1] for place in new) >= k
    return hits / len(ways)


@pytest.mark.parametrize("k", range(5))
def test_the_probability_is_the_share_of_all_orders(k: int) -> None:
    earlier = Reference(n=7, p99_s=1.0, quantile=0.7)  # so few requests have no P99

    found = baseline.at_least_beyond(k, 4, earlier)

    assert found == pytest.approx(by_counting(k, 4, earlier), abs=1e-12)


def drawn(p99_s: float, n: int, seed: int) -> list[float]:
    dice = random.Random(seed)
    distribution = known_truths.lognormal(p99_s)
    return [distribution.draw(dice) for _ in range(n)]


def compared(now: Sequence[float], before: Sequence[float], excuse: str | None = None) -> Verdict:
    p99_s = sorted(before)[int(len(before) * 0.99) - 1]
    earlier = Reference(n=len(before), p99_s=p99_s)
    return baseline.compare("c", now, earlier, BOUNDS, excuse=excuse)


def test_two_runs_of_one_distribution_differ_in_at_most_1_of_100_pairs() -> None:
    pairs = [(drawn(1.0, 600, seed), drawn(1.0, 600, seed + 1000)) for seed in range(200)]

    slower = sum(compared(now, before).valid is False for now, before in pairs)

    assert slower <= 2


def test_a_run_twice_as_slow_is_slower() -> None:
    assert compared(drawn(2.0, 600, 1), drawn(1.0, 600, 2)).valid is False


def test_a_run_a_tenth_slower_is_not_called_slower() -> None:
    assert compared(drawn(1.1, 600, 1), drawn(1.0, 600, 2)).valid is True


def test_a_run_slower_than_before_on_a_slower_machine_is_unknown() -> None:
    assert compared(drawn(2.0, 600, 1), drawn(1.0, 600, 2), "it was slower").valid is None


def test_a_run_whose_requests_failed_is_slower() -> None:
    failing = [*drawn(1.0, 500, 1), *[float("inf")] * 100]

    assert compared(failing, drawn(1.0, 600, 2)).valid is False


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"schema": "llmhive/load/0", "machine": {"id": "m"}}, "expected the schema"),
        ({"schema": baseline.SCHEMA, "machine": {"id": "other"}}, "expected the machine m"),
        ({"schema": baseline.SCHEMA}, "expected a results.json of load"),
    ],
    ids=["another schema", "another machine", "no machine"],
)
def test_a_run_of_another_machine_is_refused(
    tmp_path: Path, facts: dict[str, object], says: str
) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps(facts))

    with pytest.raises(BaselineError, match=says):
        baseline.read(file, machine_id="m")


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"digest": "a", "target": {"stack": "processes"}}, "the schedule b, got a"),
        ({"digest": "b", "target": {"stack": "remote"}}, "the stack processes, got remote"),
    ],
    ids=["schedule", "stack"],
)
def test_a_run_of_something_else_is_refused(facts: dict[str, object], says: str) -> None:
    with pytest.raises(BaselineError, match=says):
        baseline.require_alike(facts, "b", "processes")
