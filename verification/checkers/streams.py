"""Streams: each ends once, says how, and ends by the wall clock.

Claimed: a stream has token events, then exactly one `done` or `error`, and nothing after it; its
text is not doubled or spliced; a request is over by the wall clock.

Decided from the events in the order in which they came. A stream whose caller left, or whose
connection a fault broke, may end anywhere, but may not have ended twice. The wall clock is judged
with the slowest control of the run added, and a second for the answer's own way: a stream that
is not bounded by it goes on for several times as long.

Could be fooled by a machine that stands still for longer than its controls say.

Operations: f "chat" with `stream` true, value: `events` (names, in order; tokens counted
together as "token"), `code`, `error`. f "control": as long as it took, so long anything may
take. Source: DESIGN 3.1, 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from verification.history import History, Operation, Outcome
from verification.verdict import Verdict, judged, unknown

CHAT: Final = "chat"
CONTROL: Final = "control"
TOKEN: Final = "token"  # noqa: S105  the name of an event
ENDS: Final = frozenset({"done", "error"})
# From the wall clock's end to the last byte: an event is made, sent and read.
ANSWERED_WITHIN_S: Final = 1.0
# Timers of an event loop may fire a tick early.
EARLY_S: Final = 0.1


def slowest_control_s(history: History) -> float:
    """The longest that anything took which depends on nothing."""
    return max((one.finished_s - one.started_s for one in history.of(CONTROL)), default=0.0)


@dataclass(frozen=True, slots=True)
class StreamsEndOnce:
    """Each stream ends in exactly one `done` or `error`, and nothing follows it."""

    claim: str = "each stream ends in exactly one done or error"

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when no stream was read to its end."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        streams = [one for one in history.of(CHAT) if one.value.get("stream") and _began(one)]
        wrong = [(one, text) for one in streams if (text := self._wrong(one))]
        whole = [one for one in streams if _names(one)[-1:] and _names(one)[-1] in ENDS]
        counts = {"streams": len(streams), "read to their end": len(whole)}
        if wrong:
            first, last = wrong[0], wrong[-1]
            return Verdict(False, self.claim, counts, first[1], last[1], (first[0],))
        if not whole:
            return unknown(self.claim, "no stream was read to its end", **counts)
        return Verdict(True, self.claim, counts)

    def _wrong(self, one: Operation) -> str:
        names = _names(one)
        ends = [name for name in names if name in ENDS]
        if len(ends) > 1 or (ends and names[-1] not in ENDS):
            return f"events {list(names)}, expected one end, and last"
        is_cut = one.value.get("error") is not None
        if not ends and not is_cut:
            return f"events {list(names)}, closed in order without done or error"
        return ""


def _began(one: Operation) -> bool:
    return one.value.get("status") == 200  # noqa: PLR2004  HTTP's own


def _names(one: Operation) -> Sequence[str]:
    return [str(name) for name in one.value.get("events", ())]


@dataclass(frozen=True, slots=True)
class EndsByTheWallClock:
    """Every request is over by the wall clock, whatever the provider does.

    Takes: `wall_clock_s`; `code`, the ending that shows that the wall clock was reached.
    """

    wall_clock_s: float
    code: str = "wall_clock_exhausted"

    @property
    def claim(self) -> str:
        """The claim in words."""
        return f"every request is over within {self.wall_clock_s:g} s"

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when no request reached the wall clock."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        slack_s = slowest_control_s(history) + ANSWERED_WITHIN_S
        asked = history.of(CHAT)
        late = [one for one in asked if _seconds(one) > self.wall_clock_s + slack_s]
        reached = [one for one in asked if one.value.get("code") == self.code]
        counts = {"requests": len(asked), "that reached it": len(reached)}
        if late:
            worst = max(late, key=_seconds)
            told = [f"took {_seconds(one):.2f} s" for one in (late[0], worst)]
            return Verdict(False, self.claim, counts, told[0], told[1], (worst,))
        if not reached:
            return unknown(self.claim, "no request reached the wall clock", **counts)
        early = [one for one in reached if _seconds(one) < self.wall_clock_s - EARLY_S]
        if early:
            because = f"ended by the wall clock after {_seconds(early[0]):.2f} s"
            return Verdict(False, self.claim, counts, because, witness=(early[0],))
        return Verdict(True, self.claim, counts)


def _seconds(one: Operation) -> float:
    return one.finished_s - one.started_s


@dataclass(frozen=True, slots=True)
class SaysWhatTheProviderSaid:
    """A whole answer is the provider's text, neither doubled nor spliced nor cut.

    Takes: `text`, what every provider was told to say to these callers.
    """

    text: str
    claim: str = "a whole answer is the provider's text, and a broken one its beginning"

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when no answer was whole."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        asked = [one for one in history.of(CHAT) if one.value.get("reply")]
        whole = [one for one in asked if one.outcome is Outcome.OK]
        counts = {"answers": len(asked), "whole": len(whole)}
        for one in asked:
            reply = str(one.value["reply"])
            is_right = reply == self.text if one in whole else self.text.startswith(reply)
            if not is_right:
                told = f"{'whole' if one in whole else 'broken'} answer {reply[:80]!r}"
                return Verdict(False, self.claim, counts, told, witness=(one,))
        if not whole:
            return unknown(self.claim, "no answer was whole", **counts)
        return Verdict(True, self.claim, counts)
