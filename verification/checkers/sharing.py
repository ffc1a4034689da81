"""Whether limits are decided together again after an outage, by the word of each answer.

Claimed: within a bound of the proven healing no worker decides alone.

Decided from answers to requests *sent* after the bound and the slowest control of the run: a
worker that decides alone by then has not come back. One such answer proves it where its own
control was quick; on a machine that stands still, an answer of Redis may come too late for a
decision, so a worker is accused only when most of its answers after the bound say so.

Could be fooled by a Redis that is slow for reasons of its own.

Operations: f "chat", value: `is_degraded`, `served_by`. Faults: nemesis_spans. Source: DESIGN 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from verification.checkers.nemesis_spans import spans_of
from verification.checkers.streams import slowest_control_s
from verification.history import History, Operation
from verification.verdict import Verdict, judged, unknown


@dataclass(frozen=True, slots=True)
class SharedAgainWithin:
    """No worker decides alone for longer than `bound_s` after the healing."""

    bound_s: float

    @property
    def claim(self) -> str:
        """The claim in words."""
        return f"no worker decides alone {self.bound_s:g} s after the healing"

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when none decided alone before, or none was asked afterwards."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        spans, chats = spans_of(history), history.of("chat")
        healed_s = max((span.healed_s for span in spans), default=float("inf"))
        from_s = healed_s + self.bound_s + slowest_control_s(history)
        alone = [one for one in chats if one.value.get("is_degraded")]
        later: dict[str, list[Operation]] = {}
        for one in chats:
            if one.started_s > from_s and one.value.get("served_by"):
                later.setdefault(str(one.value["served_by"]), []).append(one)
        counts = {"decided alone": len(alone), "after the bound": sum(map(len, later.values()))}
        for worker, own in later.items():
            still = [one for one in own if one.value.get("is_degraded")]
            if 2 * len(still) > len(own):
                told = f"{worker} decided {len(still)} of {len(own)} alone"
                return Verdict(False, self.claim, counts, told, witness=tuple(still[:3]))
        if not any(span.holds(one) for span in spans for one in alone):
            return unknown(self.claim, "no worker decided alone while broken", **counts)
        if not later:
            return unknown(self.claim, "nobody asked after the bound", **counts)
        return Verdict(True, self.claim, counts)
