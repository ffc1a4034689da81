"""Is it slower than an earlier run? An exact test that needs the earlier P99 and its rank only.

If both runs came from one distribution, how many of the new requests lie beyond the earlier P99
follows a known law (negative hypergeometric), whatever the distribution is. Slower means: more
lie beyond a somewhat larger time than chance would put beyond the P99 itself, so a difference
smaller than that factor is never called slower. The control ping is compared likewise: where it
is slower, too, or others filled the machine, nobody can say. Only runs of one machine and one
schedule are compared. Pure but for reading the file.
Source: Gastwirth (1968), Nelson (1963), precedence tests.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load.gate import QUANTILE
from load.instrument import percentile
from verification.contract.load import BaselineBounds
from verification.verdict import Verdict, unknown

SCHEMA = "llmhive/load/1"
# A sum of many small numbers is not known any finer.
LEAST_SAID = 1e-9


class BaselineError(ValueError):
    """An earlier run that this one cannot be compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An earlier distribution: its P99 and how many requests it is of."""

    n: int
    p99_s: float
    quantile: float = QUANTILE

    @property
    def beyond(self) -> int:
        """How many of its requests lie beyond its P99."""
        return self.n - math.ceil(round(self.n * self.quantile, 9))


def read(file: Path, *, machine_id: str) -> dict[str, Any]:
    """An earlier results.json of this machine.

    Raises: BaselineError in one line.
    """
    try:
        facts: dict[str, Any] = json.loads(file.read_text("utf-8"))
        found = (facts["schema"], facts["machine"]["id"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BaselineError(
            f"--baseline {file}: expected a results.json of load: {error}"
        ) from error
    for name, expected, got in zip(("schema", "machine"), (SCHEMA, machine_id), found, strict=True):
        if got != expected:
            raise BaselineError(f"--baseline {file}: expected the {name} {expected}, got {got}")
    return facts


def require_alike(facts: Mapping[str, Any], digest: str, stack: str) -> None:
    """Refuse an earlier run that sent something else, or to another kind of stack.

    Raises: BaselineError.
    """
    for name, expected, got in (
        ("schedule", digest, facts["digest"]),
        ("stack", stack, facts["target"].get("stack")),
    ):
        if got != expected:
            raise BaselineError(f"--baseline: expected a run of the {name} {expected}, got {got}")


def references(facts: Mapping[str, Any]) -> dict[str, Reference]:
    """The distributions of an earlier run by the id of their target; "control" is the ping's."""
    rows = [*facts["claims"], {"id": "control", **facts["instrument"]["control"]}]
    return {
        row["id"]: Reference(n=row["n"], p99_s=row["p99_s"])
        for row in rows
        if row.get("p99_s") is not None and row["n"]
    }


def compare(
    claim: str,
    seconds: Sequence[float],
    earlier: Reference | None,
    bounds: BaselineBounds,
    *,
    excuse: str | None = None,
) -> Verdict:
    """Whether the new requests are not slower than the earlier ones.

    Takes: `excuse`, what else could have made them slow; then slower is unknown.
    """
    if earlier is None or not seconds:
        return unknown(claim, "one of both runs has no P99 to compare")
    limit_s = earlier.p99_s * bounds.factor
    beyond = sum(one > limit_s for one in seconds)
    chance = at_least_beyond(beyond, len(seconds), earlier)
    counts = {"requests": len(seconds), "beyond": beyond}
    now_s = percentile(sorted(seconds), QUANTILE)
    told = f"P99 {now_s:.3f} s, {earlier.p99_s:.3f} s before"
    if chance >= bounds.error_probability:
        return Verdict(True, claim, counts, told)
    if excuse:
        return unknown(claim, f"{told}, but {excuse}", **counts)
    odds = f"{chance:.0e}" if chance > LEAST_SAID else f"less than {LEAST_SAID:.0e}"
    return Verdict(False, claim, counts, f"{told}: by chance with a probability of {odds}")


def at_least_beyond(k: int, m: int, earlier: Reference) -> float:
    """The probability that `k` or more of `m` requests of the same kind lie beyond its P99."""
    n, beyond = earlier.n, earlier.beyond
    rank = n - beyond
    whole = _log_choose(n + m, m)

    def exactly(j: int) -> float:
        inside = _log_choose(m - j + rank - 1, rank - 1)
        return math.exp(inside + _log_choose(j + beyond, beyond) - whole)

    if k <= m // 2:
        return max(0.0, 1.0 - sum(exactly(j) for j in range(k)))
    return min(1.0, sum(exactly(j) for j in range(k, m + 1)))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
