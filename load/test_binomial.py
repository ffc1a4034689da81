"""Exact bounds against exact arithmetic, and against published tables."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest

from load import binomial


def exactly_at_most(k: int, n: int, p: Fraction) -> float:
    return float(sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)))


@pytest.mark.parametrize("share", [Fraction(1, 100), Fraction(1, 20), Fraction(1, 2)], ids=str)
@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 299), (3, 400), (17, 60), (60, 60)])
def test_a_probability_is_that_of_exact_arithmetic(k: int, n: int, share: Fraction) -> None:
    found = binomial.at_most(k, n, float(share))

    assert found == pytest.approx(exactly_at_most(k, n, share), abs=1e-12)


@pytest.mark.parametrize(("k", "n"), [(1, 299), (1, 473), (12, 800), (799, 800)])
def test_at_a_bound_chance_has_exactly_the_error_probability_left(k: int, n: int) -> None:
    upper, lower = binomial.upper_bound(k, n), binomial.lower_bound(k, n)

    assert binomial.at_most(k, n, upper) == pytest.approx(0.05, abs=1e-9)
    assert 1 - binomial.at_most(k - 1, n, lower) == pytest.approx(0.05, abs=1e-9)


@pytest.mark.parametrize(
    ("share", "confidence", "needed"),
    [(0.01, 0.9, 230), (0.01, 0.95, 299), (0.01, 0.99, 459), (0.05, 0.95, 59), (0.001, 0.95, 2995)],
)
def test_the_fewest_samples_are_those_of_the_table(
    share: float, confidence: float, needed: int
) -> None:
    assert binomial.samples_needed(share, 0, confidence) == needed


@pytest.mark.parametrize("n", [1, 298, 299, 472, 473, 627, 1692, 1693])
def test_as_many_may_be_late_as_the_samples_suffice_for(n: int) -> None:
    allowed = binomial.late_allowed(n, 0.01)

    assert allowed < 0 or binomial.samples_needed(0.01, allowed) <= n
    assert binomial.samples_needed(0.01, allowed + 1) > n


@pytest.mark.parametrize(
    ("n", "ranks"),
    [
        (367, (359, None)),
        (368, (360, 368)),
        (1000, (983, 997)),
        (5000, (4936, 4964)),
        (10_000, (9880, 9920)),
    ],
)
def test_the_ranks_around_the_p99_are_those_of_the_table(
    n: int, ranks: tuple[int, int | None]
) -> None:
    assert binomial.ranks(n, 0.99) == ranks


def test_a_million_samples_are_bounded_as_well() -> None:
    low, high = binomial.interval(10_000, 1_000_000)

    assert low == pytest.approx(0.0098059, abs=1e-7)
    assert high == pytest.approx(0.0101969, abs=1e-7)


@pytest.mark.parametrize(("k", "n"), [(0, 0), (0, 10), (10, 10)])
def test_at_the_ends_the_bounds_are_the_whole_of_what_is_possible(k: int, n: int) -> None:
    low, high = binomial.interval(k, n)

    assert (low == 0.0) == (k == 0)
    assert (high == 1.0) == (k == n)
