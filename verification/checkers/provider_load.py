"""How often a provider that fails is asked while it fails: breakers leave it alone.

Claimed: over the whole fault a provider gets no more calls than its breakers need to open, what
was under way meanwhile, and the probes of each rest.

Decided by counting the calls that arrived while the fault acted. Without shared state every
worker has a breaker of its own, so each may count its own failures and send its own probes; how
many rests fit into the fault is taken by its length, each as short as its jitter allows.

Could be fooled by a fault that is so short that even unbounded callers ask no more often.

Operations: f "call" of process `provider`. Faults: nemesis_spans. Source: DESIGN 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from verification.checkers.nemesis_spans import Span, spans_of
from verification.checkers.stopping import CALL
from verification.contract import breakers
from verification.history import History, Operation
from verification.verdict import Verdict, judged, unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderIsLeftAlone:
    """A failing provider is asked no more often than its breakers need.

    Takes: `open_s`, how long a breaker rests; `callers`, how many ask at the same time;
    `at_least`, how many chats must have been sent while the fault acted.
    """

    provider: str
    workers: int
    callers: int
    open_s: float
    at_least: int

    @property
    def claim(self) -> str:
        """The claim in words."""
        return f"{self.provider} is left alone while it fails"

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when too few chats were sent while the fault acted."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        spans = spans_of(history)
        every = [one for one in history.of(CALL) if one.process == self.provider]
        calls = [
            one
            for one in every
            if any(span.bites_s <= one.started_s <= span.heals_s for span in spans)
        ]
        chats = [one for one in history.of("chat") if any(span.holds(one) for span in spans)]
        most = sum(self._allowed(span, every) for span in spans)
        counts = {"calls": len(calls), "allowed": most, "chats": len(chats)}
        if len(calls) > most:
            told = f"{len(calls)} calls while it failed, expected at most {most}"
            return Verdict(False, self.claim, counts, told, witness=tuple(calls[most:][:3]))
        if len(chats) < max(self.at_least, most):
            return unknown(self.claim, "too few chats to tell a breaker from none", **counts)
        return Verdict(True, self.claim, counts)

    def _allowed(self, span: Span, every: Sequence[Operation]) -> int:
        """How many calls the breakers of all workers may let through during a fault.

        A breaker opens when at least half of what it remembers failed: what went well before
        the fault has to be outweighed first.
        """
        well = sum(span.asked_s - breakers.WINDOW_S < one.started_s < span.bites_s for one in every)
        failures = max(breakers.counted_failures_max(self.workers), well + self.workers)
        rest_s = self.open_s * (1 - breakers.OPEN_JITTER)
        rests = math.floor((span.heals_s - span.bites_s) / rest_s)
        return failures + self.callers + rests * breakers.PROBES * self.workers
