"""What callers that left leave behind: nothing that anybody else would miss.

Claimed: a provider's call ends soon after the caller that caused it has left, and every place in
flight comes back.

Decided by the messages, which are unique: the call with the message of a chat whose caller left
must have been hung up, or have ended, within the bound and the slowest control after the caller
left. Places are read when nobody asks any more.

Could be fooled by a provider that ends by itself right after its caller left, and by leases that
expire before they are read.

Operations: f "chat", value: `message`, `error` (`left`); f "call", value: `message`; its end is
the operation's, unless its outcome is info: then it goes on. f "places", value: `user`, `held`.
Source: DESIGN 3.2, 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from verification.checkers.availability import LEFT
from verification.checkers.stopping import CALL
from verification.checkers.streams import slowest_control_s
from verification.history import History, Operation
from verification.verdict import Verdict, judged, unknown

PLACES: Final = "places"


@dataclass(frozen=True, slots=True)
class CallsEndWithTheirCallers:
    """A provider's call ends within `bound_s` of its caller's leaving, and the slowest control.

    Takes: `at_least`, how many callers must have left while a provider worked for them.
    """

    bound_s: float
    at_least: int = 5

    @property
    def claim(self) -> str:
        """The claim in words."""
        return f"a provider's call ends within {self.bound_s:g} s of its caller's leaving"

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when too few callers left while a provider worked for them."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        pairs = list(_abandoned(history))
        within_s = self.bound_s + slowest_control_s(history)
        late = [
            (chat, call) for chat, call in pairs if call.effect_ends_s - chat.finished_s > within_s
        ]
        counts = {"calls whose caller left": len(pairs), "late": len(late)}
        if late:
            chat, call = max(late, key=lambda pair: pair[1].finished_s - pair[0].finished_s)
            went_on_s = call.finished_s - chat.finished_s
            told = f"a call went on for {went_on_s:.2f} s after its caller had left"
            return Verdict(False, self.claim, counts, told, witness=(chat, call))
        if len(pairs) < self.at_least:
            return unknown(self.claim, f"expected at least {self.at_least} of them", **counts)
        return Verdict(True, self.claim, counts)


def _abandoned(history: History) -> Iterator[tuple[Operation, Operation]]:
    """Each chat whose caller left while a provider worked for it, with that call."""
    left = {
        one.value.get("message"): one
        for one in history.of("chat")
        if one.value.get("error") == LEFT
    }
    for call in history.of(CALL):
        chat = left.get(call.value.get("message"))
        if chat is not None and call.started_s < chat.finished_s < call.effect_ends_s:
            yield chat, call


@dataclass(frozen=True, slots=True)
class PlacesComeBack:
    """Nobody holds a place in flight when nobody asks any more."""

    claim: str = "every place in flight comes back"

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when nobody looked."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        seen = history.of(PLACES)
        held = [one for one in seen if one.value.get("held")]
        counts = {"users": len(seen), "places held": sum(int(one.value["held"]) for one in held)}
        if held:
            told = f"{held[0].value['user']} still holds {held[0].value['held']}"
            return Verdict(False, self.claim, counts, told, witness=tuple(held[:3]))
        if not seen:
            return unknown(self.claim, "nobody looked", **counts)
        return Verdict(True, self.claim, counts)
