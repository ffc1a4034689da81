"""How requests end while something is broken, and when they are well again.

Claimed: every request is answered, in one of the ways that are promised for the moment at which
it was sent; whoever is refused for now is told when to come back.

Decided per request by its ending: `whole`, an error code of the service, what the network did
(`reset`, `closed`, `refused`, …), `left` for a caller that left, or the bare status. A request
that any part of a fault touched, or of the time to settle after it, may end in the ways that are
promised for the fault; every other one must end as when all is well. Nothing is said of how long
it took: slow is for other checkers.

Could be fooled by a fault that acts before it was asked for, and by callers that look away: what
is not in the history is not judged.

Operations: any `f`, value: `status`, `code`, `error`, `retry_after_s`. Faults: nemesis_spans.
Source: DESIGN 3.1, 7.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from verification.checkers.nemesis_spans import spans_of
from verification.contract.http import WITH_RETRY_AFTER
from verification.history import History, Operation, Outcome
from verification.verdict import Verdict, judged, unknown

WHOLE: Final = "whole"
WELL: Final = frozenset({WHOLE})
LEFT: Final = "left"


def ending(one: Operation) -> str:
    """How a request ended, in a word."""
    value = one.value
    if value.get("error") == LEFT:
        return LEFT
    if one.outcome is Outcome.OK:
        return WHOLE
    return str(value.get("code") or value.get("error") or f"status {value.get('status')}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersAsPromised:
    """Every request ends as promised for its moment, and refusals say when to come back.

    Takes: `well`, the endings when nothing is broken; `broken`, the further ones while something
    is; `settle_s`, for how long after the healing those are still promised; `wants`, an ending
    that the fault must have caused for the claim to have been tried at all.
    """

    well: frozenset[str] = WELL
    broken: frozenset[str] = frozenset()
    settle_s: float = 0.0
    wants: str | None = None
    f: str = "chat"

    @property
    def claim(self) -> str:
        """The claim in words."""
        also = f"; while broken also {', '.join(sorted(self.broken))}" if self.broken else ""
        return f"every {self.f} ends {' or '.join(sorted(self.well))}{also}"

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when nothing was sent while the fault acted."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        spans, asked = spans_of(history), history.of(self.f)
        touched = [
            any(span.may_touch(one, settle_s=self.settle_s) for span in spans) for one in asked
        ]
        inside = [one for one in asked if any(span.holds(one) for span in spans)]
        counts = {"requests": len(asked), "while broken": len(inside)}
        counts |= dict(Counter(ending(one) for one in asked))
        wrong = [
            self._wrong(one, is_touched=is_touched)
            for one, is_touched in zip(asked, touched, strict=True)
        ]
        if found := [(one, text) for one, text in zip(asked, wrong, strict=True) if text]:
            first, last = found[0], found[-1]
            counts["wrong"] = len(found)
            return Verdict(False, self.claim, counts, first[1], last[1], (first[0],))
        if not inside:
            return unknown(self.claim, "no request was sent while the fault acted", **counts)
        if self.wants and self.wants not in {ending(one) for one in asked}:
            return unknown(self.claim, f"no request ended {self.wants}", **counts)
        return Verdict(True, self.claim, counts)

    def _wrong(self, one: Operation, *, is_touched: bool) -> str:
        how = ending(one)
        allowed = self.well | self.broken if is_touched else self.well
        if how not in allowed:
            when = "while broken" if is_touched else "when nothing was broken"
            return f"ended {how} {when}, expected {' or '.join(sorted(allowed))}"
        status, wait_s = one.value.get("status"), one.value.get("retry_after_s")
        if status in WITH_RETRY_AFTER and not (isinstance(wait_s, int) and wait_s >= 1):
            return f"{status} {how} with Retry-After {wait_s}, expected at least 1 s"
        return ""
