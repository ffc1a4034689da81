"""What became of each claim of a run, gathered from the reports of all xdist workers.

Facts and phases travel as `user_properties` of pytest's reports, as JSON, so that it does
not matter which process ran the claim. Cases of one claim (parameters) count as one claim
with the worst verdict. Source: DESIGN section 5, 6.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import pytest

from verification.harness import claim_verdict
from verification.harness.claim_verdict import ClaimVerdict, Phase
from verification.harness.schedule import GROUP

FACTS: Final = "llmhive.claim"
PHASE: Final = "llmhive.phase"
# What xdist appends to the id of a test that stands in a group.
GROUP_SUFFIX: Final = re.compile(f"@{GROUP}$")
UNFINISHED: Final = "unfinished: the run ended before it"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimFacts:
    """What is known of one case of a claim before it runs."""

    nodeid: str
    id: str
    sentence: str
    source: str
    promises: tuple[str, ...]
    items: tuple[str, ...]
    file: str
    line: int
    evidence: str
    needs: tuple[str, ...] = ()
    env: Mapping[str, str | None] | None = None
    workers: int = 1
    faults: tuple[str, ...] = ()
    full: bool = False

    @property
    def configuration(self) -> str:
        """The stack's configuration, as people read it; empty for the usual one."""
        settings = [f"{name}={value}" for name, value in sorted((self.env or {}).items())]
        workers = [f"{self.workers} workers"] if self.workers > 1 else []
        return " ".join([*workers, *settings])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """What a run says of one claim. `reason` says why it is unverified."""

    id: str
    facts: ClaimFacts
    verdict: ClaimVerdict
    why: str = ""
    reason: str = ""
    seconds: float = 0.0
    cases: int = 1


@dataclass(slots=True)
class _Case:
    facts: ClaimFacts
    selected: bool = True
    phases: list[Phase] = field(default_factory=list)

    def result(self) -> ClaimResult:
        said = [phase for phase in self.phases if phase.verdict is not None]
        if said:
            verdict = claim_verdict.worst([phase.verdict for phase in said if phase.verdict])
            phase = next(phase for phase in said if phase.verdict is verdict)
        elif self.selected:
            phase = Phase("", ClaimVerdict.UNKNOWN, UNFINISHED)
        else:
            why = "the plain run leaves it out: --full" if self.facts.full else "not selected"
            phase = Phase("", ClaimVerdict.UNVERIFIED, why, claim_verdict.NOT_SELECTED)
        return ClaimResult(
            id=self.facts.id,
            facts=self.facts,
            verdict=phase.verdict or ClaimVerdict.UNKNOWN,
            why=phase.why,
            reason=phase.reason,
            seconds=sum(phase.seconds for phase in self.phases),
        )


class ClaimResults:
    """Gathers facts and phases; the order in which they come does not matter."""

    def __init__(self) -> None:
        self._cases: dict[str, _Case] = {}
        self._waiting: dict[str, list[Phase]] = {}

    def know(self, facts: ClaimFacts, *, selected: bool = True) -> None:
        """Note that there is such a claim. Selected by any worker is selected."""
        case = self._cases.setdefault(facts.nodeid, _Case(facts, selected))
        case.selected = case.selected and selected if not case.phases else True
        case.phases += self._waiting.pop(facts.nodeid, [])

    def hear(self, report: pytest.TestReport) -> ClaimVerdict | None:
        """Take what a report carries; gives the verdict of its phase, None when it says none."""
        nodeid = GROUP_SUFFIX.sub("", report.nodeid)
        carried = dict(report.user_properties)
        if FACTS in carried:
            self.know(facts_from(str(carried[FACTS])))
        if PHASE in carried:
            phase = _phase_from(str(carried[PHASE]), report.duration)
        elif report.when not in {"setup", "call", "teardown"}:
            phase = Phase("crash", ClaimVerdict.UNKNOWN, f"its process died: {report.longrepr}")
        else:
            return None
        if nodeid in self._cases:
            self._cases[nodeid].phases.append(phase)
        else:
            self._waiting.setdefault(nodeid, []).append(phase)
        return phase.verdict

    def knows(self, nodeid: str) -> bool:
        """Whether that test is a claim."""
        return GROUP_SUFFIX.sub("", nodeid) in self._cases

    def ids(self) -> set[str]:
        """The ids of all claims."""
        return {case.facts.id for case in self._cases.values()}

    def __len__(self) -> int:
        return len(self._cases)

    def results(self) -> list[ClaimResult]:
        """One result for each claim, by id; the worst case speaks for all."""
        by_id: dict[str, list[ClaimResult]] = {}
        for case in self._cases.values():
            by_id.setdefault(case.facts.id, []).append(case.result())
        return [_joined(cases) for _, cases in sorted(by_id.items())]

    def to_json(self) -> str:
        """What is known of the claims, for the controller."""
        rows = [[asdict(case.facts), case.selected] for case in self._cases.values()]
        return json.dumps(rows)

    def learn(self, text: str) -> None:
        """Take over what another process knows of the claims."""
        for facts, selected in json.loads(text):
            self.know(_facts(facts), selected=selected)


def _joined(cases: list[ClaimResult]) -> ClaimResult:
    # A case that was not selected says nothing while another one of the claim ran.
    ran = [case for case in cases if case.reason != claim_verdict.NOT_SELECTED] or cases
    worst = min(ran, key=lambda case: claim_verdict.RANK[case.verdict])
    facts = worst.facts
    if len(ran) > 1 and worst.verdict is ClaimVerdict.TRUE:
        # No case speaks for the others: the claim without its case, the folder of all of them.
        sentence = facts.sentence.partition(" (")[0]
        facts = replace(facts, sentence=sentence, evidence=facts.id)
    return ClaimResult(
        id=worst.id,
        facts=facts,
        verdict=worst.verdict,
        why=worst.why,
        reason=worst.reason,
        seconds=round(sum(case.seconds for case in cases), 2),
        cases=len(ran),
    )


def said(report: pytest.TestReport | pytest.CollectReport) -> ClaimVerdict | None:
    """The verdict that a report carries."""
    carried = dict(getattr(report, "user_properties", ()))
    return _phase_from(str(carried[PHASE]), 0.0).verdict if PHASE in carried else None


def facts_to(facts: ClaimFacts) -> str:
    """The facts as JSON."""
    return json.dumps(asdict(facts))


def facts_from(text: str) -> ClaimFacts:
    """The facts that `facts_to` wrote."""
    return _facts(json.loads(text))


def _facts(row: dict[str, Any]) -> ClaimFacts:
    lists = {name: tuple(value) for name, value in row.items() if isinstance(value, list)}
    return ClaimFacts(**{**row, **lists})


def phase_to(phase: Phase) -> str:
    """The phase as JSON, without its seconds: pytest's report has those."""
    row = asdict(phase)
    del row["seconds"]
    return json.dumps(row)


def _phase_from(text: str, seconds: float) -> Phase:
    row = json.loads(text)
    verdict = ClaimVerdict(row["verdict"]) if row["verdict"] else None
    return Phase(row["when"], verdict, row["why"], row["reason"], seconds)


def slowest(results: Iterable[ClaimResult], n: int) -> list[ClaimResult]:
    """The `n` claims that took longest, the longest first."""
    ran = [
        result
        for result in results
        if result.seconds and result.verdict is not ClaimVerdict.UNVERIFIED
    ]
    return sorted(ran, key=lambda result: -result.seconds)[:n]
