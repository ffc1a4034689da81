"""What a run of claims remarks in CI: each false claim, at its line, with what it breaks."""

from __future__ import annotations

from verification.harness.claim_results import ClaimResult
from verification.harness.claim_verdict import ClaimVerdict
from verification.harness.github import Annotation
from verification.harness.report.model import RunReport


def remarks(report: RunReport) -> list[Annotation]:
    """One for each false claim: file, line, and the checklist's lines."""
    return [_annotation(report, one) for one in report.claims_that_are(ClaimVerdict.FALSE)]


def _annotation(report: RunReport, result: ClaimResult) -> Annotation:
    facts = result.facts
    lines = "; ".join(one.item.text for one in report.items if result in one.claims)
    first = result.why.split("\n")[0]
    told = (lines or "no line of the checklist", first, report.reproduce(facts))
    return Annotation(
        level="error",
        title=f"{facts.id}: {facts.sentence}",
        message="\n".join(told),
        file=facts.file,
        line=facts.line,
    )
