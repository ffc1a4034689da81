"""What a checker says: true, false, or that it does not know.

Unknown (None) is not a pass: nothing measured, a fault that never bit, a worker that was
never reached, a checker that crashed, an instrument that lagged. Imports the standard
library and history only. Source: DESIGN section 5.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from verification.history import History, Operation

Checker = Callable[[History], "Verdict"]

# A witness longer than this is shown by its first and last operations.
SHOWN_MAX = 12


class UnknownVerdict(Exception):  # noqa: N818  the third verdict, not an error of the harness
    """The claim can be neither held nor broken by what was observed; never a pass."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`valid` with the claim in words, what was counted, the first and the worst breach.

    `witness` is the smallest set of operations that proves a breach.
    """

    valid: bool | None
    claim: str
    counts: Mapping[str, int] = field(default_factory=dict)
    first: str | None = None
    worst: str | None = None
    witness: tuple[Operation, ...] = ()

    @property
    def word(self) -> str:
        """true, false or unknown."""
        return {True: "true", False: "false", None: "unknown"}[self.valid]

    def __and__(self, other: Verdict) -> Verdict:
        """The worse of both (false, unknown, true) with the counts of both; claims are joined."""
        worse, better = sorted((self, other), key=lambda verdict: _RANK[verdict.valid])
        joined = {**self.counts, **other.counts}
        if self.claim == other.claim:
            joined = {name: self.counts.get(name, 0) + other.counts.get(name, 0) for name in joined}
            claim = self.claim
        else:
            claim = f"{self.claim}; and {other.claim}"
        if worse.valid is True:
            return Verdict(True, claim, joined, worse.first or better.first)
        return Verdict(worse.valid, claim, joined, worse.first, worse.worst, worse.witness)

    def require(self) -> None:
        """Hold the claim to this verdict.

        Raises: AssertionError with the witness when false, UnknownVerdict when unknown.
        """
        if self.valid is None:
            raise UnknownVerdict(str(self))
        assert self.valid, str(self)

    def __bool__(self) -> bool:
        """Refused: a verdict has three values; say `.valid is True` or `.require()`."""
        raise TypeError("a verdict has three values: compare .valid, or call .require()")

    def __str__(self) -> str:
        counted = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        because = f": {self.first}" if self.valid is None and self.first else ""
        lines = [f"{self.word}: {self.claim}{f' ({counted})' if counted else ''}{because}"]
        lines += [f"  first: {self.first}"] if self.first and not because else []
        lines += [f"  worst: {self.worst}"] if self.worst and self.worst != self.first else []
        return "\n".join([*lines, *_shown(self.witness)])


_RANK = {False: 0, None: 1, True: 2}


def _shown(witness: tuple[Operation, ...]) -> list[str]:
    lines = [f"    {operation}" for operation in witness]
    if len(lines) <= SHOWN_MAX:
        return lines
    half = SHOWN_MAX // 2
    return [*lines[:half], f"    … {len(lines) - 2 * half} more …", *lines[-half:]]


def holds(claim: str, **counts: int) -> Verdict:
    """The claim is true, and this much was seen of it."""
    return Verdict(True, claim, counts)


def unknown(claim: str, why: str, **counts: int) -> Verdict:
    """Nobody can say whether the claim is true, and why."""
    return Verdict(None, claim, counts, why)


def judged(claim: str, checker: Checker, history: History) -> Verdict:
    """The checker's verdict; a checker that crashes is unknown, with its traceback."""
    try:
        return checker(history)
    except Exception:  # noqa: BLE001  a crash is a verdict here: unknown, and it says why
        return unknown(claim, f"the checker crashed:\n{traceback.format_exc()}")
