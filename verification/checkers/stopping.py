"""A stop under load: it ends in order, and loses nothing that a provider saw.

Claimed: the service ends with 0, and whoever's request reached a provider has a whole answer.

Decided by the messages, which are unique: a call in a provider's journal names the message that
caused it, and that message's chat must be whole, unless its caller left. A request that no
provider saw may have been refused or reset: nothing was lost but the asking.

Could be fooled by messages that are not unique, and by answers that need no provider.

Operations: f "chat", value: `message`, `error`; f "call", value: `message` (or None); f "exit",
value: `code`. Source: DESIGN 3.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from verification.checkers.availability import LEFT, ending
from verification.history import History, Outcome
from verification.verdict import Verdict, judged, unknown

CALL: Final = "call"
EXIT: Final = "exit"


@dataclass(frozen=True, slots=True)
class LosesNothingSeen:
    """Every chat whose message a provider saw is whole, or its caller left.

    Takes: `at_least`, how many such chats there must be for the claim to have been tried.
    """

    at_least: int = 1
    claim: str = "nothing is lost that a provider saw"

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when too few messages reached a provider."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        seen = {one.value.get("message") for one in history.of(CALL)} - {None}
        asked = [one for one in history.of("chat") if one.value.get("message") in seen]
        lost = [one for one in asked if one.outcome is not Outcome.OK and ending(one) != LEFT]
        counts = {"chats that a provider saw": len(asked), "lost": len(lost)}
        if lost:
            first, last = (f"ended {ending(one)}" for one in (lost[0], lost[-1]))
            return Verdict(False, self.claim, counts, first, last, tuple(lost[:3]))
        if len(asked) < self.at_least:
            return unknown(self.claim, f"expected at least {self.at_least} of them", **counts)
        return Verdict(True, self.claim, counts)


@dataclass(frozen=True, slots=True)
class EndsInOrder:
    """Each end of the service that was asked for is one with exit code 0."""

    claim: str = "the service ends with exit code 0"

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when it never ended."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        ends = history.of(EXIT)
        wrong = [one for one in ends if one.value.get("code") != 0]
        counts = {"ends": len(ends)}
        if wrong:
            told = f"ended with {wrong[0].value.get('code')}, expected 0"
            return Verdict(False, self.claim, counts, told, witness=(wrong[0],))
        if not ends:
            return unknown(self.claim, "it never ended", **counts)
        return Verdict(True, self.claim, counts)
