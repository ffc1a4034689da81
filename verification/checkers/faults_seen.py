"""Faults as a history records them, for checkers whose bounds depend on them.

A fault is an operation with f "fault", from its first bite to its proven end, and in its
value `kind`: `redis_away`, `redis_emptied` or `clock_stepped`. A fault whose end nobody saw
has outcome info: it lasts for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from verification.contract.bounds import bounds
from verification.history import History

FAULT: Final = "fault"
REDIS_AWAY: Final = "redis_away"
REDIS_EMPTIED: Final = "redis_emptied"
CLOCK_STEPPED: Final = "clock_stepped"
KINDS: Final = frozenset({REDIS_AWAY, REDIS_EMPTIED, CLOCK_STEPPED})


class UnknownFaultError(ValueError):
    """A history names a fault that no bound knows: its author's mistake."""


@dataclass(frozen=True, slots=True)
class FaultSpan:
    """A fault, from its bite until its effects are over."""

    kind: str
    began_s: float
    ended_s: float

    def touches(self, from_s: float, until_s: float) -> bool:
        """Whether it lies, even in part, in [from, until)."""
        return self.began_s < until_s and from_s <= self.ended_s


def faults_of(history: History) -> list[FaultSpan]:
    """The faults of a history, by their beginning.

    An outage lasts until the shared limit is back, which is later than the healing.
    Raises: UnknownFaultError.
    """
    spans = []
    for operation in history.of(FAULT):
        kind = str(operation.value.get("kind"))
        if kind not in KINDS:
            raise UnknownFaultError(f"expected a fault of {sorted(KINDS)}, got {kind!r}")
        after_s = bounds().back_to_shared_within_s if kind == REDIS_AWAY else 0.0
        spans.append(FaultSpan(kind, operation.started_s, operation.effect_ends_s + after_s))
    return spans


def extra_admitted(faults: Iterable[FaultSpan], *, limit: int, workers: int) -> int:
    """How many requests above the limit these faults may let through in one window.

    Outages share one allowance, since no worker's share grows with their number; each loss of
    memory and each step of the clock has its own.
    """
    kinds = [fault.kind for fault in faults]
    counted = [kind for kind in kinds if kind != REDIS_AWAY]
    counted += [REDIS_AWAY] if REDIS_AWAY in kinds else []
    return sum(bounds().above_limit(kind, limit=limit, workers=workers) for kind in counted)
