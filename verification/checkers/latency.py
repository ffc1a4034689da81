"""What a fault adds to a request, said soundly on a noisy machine.

Claimed: a request is held up by a fault for no longer than a bound.

Decided from pairs: a reading, which may meet the fault, and right after it a control, which goes
the same way without what is broken. Seven pairs that followed each other make a round; the first
round whose slowest control took at most half the bound decides, by the median of its readings:
false only above the bound and the slowest control. Rounds on a busy machine decide nothing.

Could be fooled by a machine that is busy in the readings and idle in the controls for four times
out of seven, and by a control that is slower than what a request needs without the fault.

Operations: f "pair", value: `reading_s`, `control_s`. Faults: nemesis_spans. Source: DESIGN 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from verification.checkers.nemesis_spans import spans_of
from verification.history import History, Operation
from verification.verdict import Verdict, judged, unknown

PAIR: Final = "pair"
# Three of seven may be disturbed before the median moves.
ROUND: Final = 7


@dataclass(frozen=True, slots=True)
class HeldUpAtMost:
    """A fault holds up no request for longer than `bound_s`."""

    bound_s: float

    @property
    def claim(self) -> str:
        """The claim in words."""
        return f"no request is held up for longer than {self.bound_s:g} s"

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when no round was calm while the fault acted."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        pairs = pairs_while_broken(history)
        counts = {"pairs while broken": len(pairs)}
        slowest_s = 0.0
        for one in rounds(pairs):
            control_s = max(float(pair.value["control_s"]) for pair in one)
            slowest_s = max(slowest_s, control_s)
            if control_s > self.bound_s / 2:
                continue
            median_s = sorted(float(pair.value["reading_s"]) for pair in one)[ROUND // 2]
            told = f"median {median_s:.3f} s, slowest control {control_s:.3f} s"
            return Verdict(median_s <= self.bound_s + control_s, self.claim, counts, told)
        if not slowest_s:
            return unknown(self.claim, "there was no whole round while the fault acted", **counts)
        why = f"controls took up to {slowest_s:.3f} s, expected at most {self.bound_s / 2:g} s"
        return unknown(self.claim, why, **counts)


def pairs_while_broken(history: History) -> list[Operation]:
    """The pairs that were begun while a fault certainly acted and over before it was healed."""
    spans = spans_of(history)
    return [
        one
        for one in history.of(PAIR)
        if any(span.holds(one) and one.finished_s <= span.heals_s for span in spans)
    ]


def rounds(pairs: Sequence[Operation]) -> Iterator[Sequence[Operation]]:
    """Seven by seven, in their order; what is left over is none."""
    for first in range(0, len(pairs) - ROUND + 1, ROUND):
        yield pairs[first : first + ROUND]


def has_calm_round(pairs: Sequence[Operation], bound_s: float) -> bool:
    """Whether the pairs can decide about that bound."""
    return any(
        all(float(pair.value["control_s"]) <= bound_s / 2 for pair in one) for one in rounds(pairs)
    )
