"""A judged run as one value, and what every report says about it in the same words."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from verification.harness.claim_results import ClaimFacts, ClaimResult
from verification.harness.claim_verdict import CAPABILITY, ClaimVerdict
from verification.harness.readiness import ItemResult, RunVerdict

# How a skip for want of capabilities begins; which settings or how many workers is a detail.
LACKS: Final = "this target lacks "
DETAILS: Final = re.compile(r" \([^)]*\)")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a claim: whether it bit, what the probe met, whether it was healed."""

    claim: str
    link: str
    fault: str
    met: str
    bit: bool
    healed: bool
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """Everything that the reports say."""

    verdict: RunVerdict
    headline: str
    gate: bool
    items: tuple[ItemResult, ...]
    claims: tuple[ClaimResult, ...]
    target: dict[str, Any]
    artefact: dict[str, Any]
    stack: dict[str, Any]
    started: dt.datetime
    finished: dt.datetime
    folder: Path
    evidence: Path
    seed: int | None
    again: str
    """The options that make the same run: stack or target, and seed."""
    faults: tuple[Fault, ...] = ()
    uncollected: tuple[str, ...] = ()

    @property
    def verified(self) -> int:
        """How many lines are verified."""
        return sum(result.verdict is ClaimVerdict.TRUE for result in self.items)

    @property
    def seconds(self) -> float:
        """How long the run took."""
        return (self.finished - self.started).total_seconds()

    def claims_that_are(self, verdict: ClaimVerdict) -> list[ClaimResult]:
        """The claims of that verdict, by id."""
        return [result for result in self.claims if result.verdict is verdict]

    def unverified_claims(self) -> Iterator[str]:
        """One line for each thing that claims lacked, the most wanted first; some lack several."""
        wants: Counter[str] = Counter()
        left_out = 0
        for result in self.claims_that_are(ClaimVerdict.UNVERIFIED):
            if result.reason == CAPABILITY:
                wants.update(_wants(result.why))
            else:
                left_out += 1
        for want, count in sorted(wants.items(), key=lambda one: (-one[1], one[0])):
            yield f"not verified: {_claims(count)}, for want of {want}"
        if left_out:
            yield f"not verified: {_claims(left_out)}, not selected"

    def evidence_link(self, facts: ClaimFacts) -> str:
        """The claim's evidence folder, seen from the reports' folder; empty when there is none."""
        folder = self.evidence / facts.evidence
        if not facts.evidence or not folder.exists():
            return ""
        if folder.is_relative_to(self.folder):
            return folder.relative_to(self.folder).as_posix()
        return folder.as_posix()

    def reproduce(self, facts: ClaimFacts) -> str:
        """One line that runs the claim again, as it ran here."""
        if not facts.evidence:
            return facts.nodeid
        told = [facts.configuration, f"faults: {', '.join(facts.faults)}" if facts.faults else ""]
        comment = "; ".join(text for text in told if text)
        full = " --full" if facts.full else ""
        line = f"nox -s verify -- --claim {facts.id} {self.again}{full} -n 0"
        return f"{line}  # {comment}" if comment else line


def _claims(count: int) -> str:
    return "1 claim" if count == 1 else f"{count} claims"


def _wants(why: str) -> set[str]:
    """The capabilities that a target lacked, without their details; any other reason as it is."""
    lacked = why.removeprefix(LACKS)
    return set(DETAILS.sub("", lacked).split(", ")) if lacked != why else {why}
