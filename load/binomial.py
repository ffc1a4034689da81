"""Exact bounds on a share, from counts alone: Clopper and Pearson's, by the incomplete beta.

No normal approximation: at one in a hundred it would err where it matters. `n` and `k` may be
fractions, for the effective sample of requests that depend on each other. Pure.
Source: Clopper, Pearson (1934), Biometrika 26; Press et al., Numerical Recipes, 6.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Final

CONFIDENCE: Final = 0.95
"""Of each one-sided decision; a stated interval leaves half of the rest on either side."""

# A relative step below this changes no digit of a double.
EPSILON: Final = 1e-15
TINY: Final = 1e-300
# The fraction converges in about the square root of its larger parameter: 10^9 samples at most.
STEPS_MAX: Final = 100_000
# Halving the unit interval this often leaves 10^-12, far below what any count can resolve.
HALVINGS: Final = 40
# A gate asks for the same counts again and again; runs differ by a few.
REMEMBERED: Final = 4096


def beta_share(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for a, b > 0."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta, by Lentz's method."""
    c, d = 1.0, 1.0 / _not_zero(1 - (a + b) * x / (a + 1))
    result = d
    for step in range(1, STEPS_MAX):
        for part in _parts(step, x, a, b):
            d = 1.0 / _not_zero(1 + part * d)
            c = _not_zero(1 + part / c)
            result *= c * d
        if abs(c * d - 1) < EPSILON:
            break
    return result


def _parts(m: int, x: float, a: float, b: float) -> tuple[float, float]:
    even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
    odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    return even, odd


def _not_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY


def at_most(k: int, n: int, p: float) -> float:
    """The probability of at most `k` of `n` when each happens with probability `p`."""
    if k < 0:
        return 0.0
    return 1.0 if k >= n else 1.0 - beta_share(p, k + 1, n - k)


def upper_bound(k: float, n: float, confidence: float = CONFIDENCE) -> float:
    """The share that the true one does not exceed, with this confidence; 1 when `n` is 0."""
    if k >= n:
        return 1.0
    return _quantile(confidence, k + 1, n - k)


def lower_bound(k: float, n: float, confidence: float = CONFIDENCE) -> float:
    """The share that the true one reaches, with this confidence; 0 when `k` or `n` is 0."""
    if k <= 0 or n <= 0:
        return 0.0
    return _quantile(1 - confidence, k, n - k + 1)


def interval(k: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Both bounds at once, each wrong with half of what the confidence leaves."""
    side = (1 + confidence) / 2
    return lower_bound(k, n, side), upper_bound(k, n, side)


@lru_cache(REMEMBERED)
def _quantile(probability: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if beta_share(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@cache
def samples_needed(share: float, k: int = 0, confidence: float = CONFIDENCE) -> int:
    """The fewest samples with which `k` late ones still show that at most `share` are late."""
    low, high = k, k + 1
    while upper_bound(k, high, confidence) > share:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if upper_bound(k, middle, confidence) > share:
            low = middle
        else:
            high = middle
    return high


def late_allowed(n: int, share: float, confidence: float = CONFIDENCE) -> int:
    """The most late ones of `n` that still show that at most `share` are late; -1 when none do."""
    return _first(n, lambda k: upper_bound(k - 1, n, confidence) > share) - 2


@cache
def ranks(n: int, quantile: float, confidence: float = CONFIDENCE) -> tuple[int, int | None]:
    """The ranks (from 1) of the ordered samples between which the quantile lies.

    Gives: the lower rank, 0 when even the smallest sample may be above; the upper one, None
    when no sample is surely above it, so that the quantile has no finite upper end.
    """
    side = (1 - confidence) / 2
    lower = _first(n, lambda rank: at_most(rank - 1, n, quantile) > side) - 1
    upper = _first(n, lambda rank: at_most(rank - 1, n, quantile) >= 1 - side)
    return lower, upper if upper <= n else None


def _first(n: int, holds: Callable[[int], bool]) -> int:
    """The smallest rank from 1 on at which a condition holds, that stays true; n + 1 if none."""
    low, high = 0, n + 1
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
