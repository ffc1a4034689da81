"""When something was broken on purpose, as a history tells it.

An operation f "nemesis" lasts from the moment at which the fault was asked for until it was
proven healed; its value holds `bites_s`, when a probe first met it, and `heals_s`, when the
healing began. Outcome ok: it bit and it healed; fail: it did not bite; info: nobody saw it
healed, and it lasts for ever.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from verification.history import History, Operation, Outcome

NEMESIS: Final = "nemesis"


@dataclass(frozen=True, slots=True)
class Span:
    """One fault: it may have acted in [asked, healed], and certainly did in [bites, heals]."""

    name: str
    asked_s: float
    bites_s: float
    heals_s: float
    healed_s: float

    def may_touch(self, operation: Operation, *, settle_s: float = 0.0) -> bool:
        """Whether any of the operation lay in it, or in the `settle_s` after it."""
        until_s = self.healed_s + settle_s
        return operation.started_s <= until_s and operation.finished_s >= self.asked_s

    def holds(self, operation: Operation) -> bool:
        """Whether the operation began while the fault certainly acted."""
        return self.bites_s <= operation.started_s <= self.heals_s


def spans_of(history: History) -> list[Span]:
    """The faults of a history that bit."""
    return [_span(one) for one in history.of(NEMESIS) if one.outcome is not Outcome.FAIL]


def _span(one: Operation) -> Span:
    healed_s = one.finished_s if one.outcome is Outcome.OK else math.inf
    bites_s = float(one.value.get("bites_s", one.started_s))
    return Span(
        name=str(one.value.get("name")),
        asked_s=one.started_s,
        bites_s=bites_s,
        heals_s=float(one.value.get("heals_s", healed_s)),
        healed_s=healed_s,
    )
