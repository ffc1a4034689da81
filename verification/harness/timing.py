"""Whether something holds up a request, said soundly on a noisy machine.

A reading is taken beside a control, which goes the same way without what is suspected, on the
same processors. The median of seven in a row decides, and only where the slowest control was quick:
a machine that was busy meanwhile is asked on, and one that always is, is unknown.
Source: DESIGN section 5.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from verification.harness.waiting import now_s
from verification.verdict import Verdict, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

# Three of them may be disturbed before the median moves.
READINGS: Final = 7


def holds_up_at_most(
    bound_s: float,
    reading: Callable[[], float],
    control: Callable[[], float],
    *,
    claim: str,
    within_s: float = 30.0,
) -> Verdict:
    """Whether a reading exceeds the bound, by the first seven in a row with quick controls.

    Takes: `reading` and `control` do what they measure and give its seconds; the fault that
    `reading` meets lasts at least ten times the bound.
    Gives: unknown when some control of any seven took more than half the bound.
    """
    deadline_s, quickest_s = now_s() + within_s, math.inf
    pairs: deque[tuple[float, float]] = deque(maxlen=READINGS)
    while now_s() < deadline_s:
        pairs.append((reading(), control()))
        slowest_s = max(pair[1] for pair in pairs)
        if len(pairs) < READINGS:
            continue
        quickest_s = min(quickest_s, slowest_s)
        if slowest_s <= bound_s / 2:
            median_s = sorted(pair[0] for pair in pairs)[READINGS // 2]
            told = f"median {median_s:.3f} s, slowest control {slowest_s:.3f} s"
            return Verdict(median_s <= bound_s + slowest_s, claim, {"readings": READINGS}, told)
    why = f"of any {READINGS} controls one took {quickest_s:.3f} s, expected {bound_s / 2:g} s"
    return unknown(claim, why)
