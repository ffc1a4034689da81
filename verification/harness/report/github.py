"""What a run tells GitHub Actions: the summary of the step, and an annotation for each false claim.

Source: GitHub, "Workflow commands for GitHub Actions", seen in November 2026.
"""

from __future__ import annotations

import os
from pathlib import Path

from verification.harness.claim_results import ClaimResult
from verification.harness.claim_verdict import ClaimVerdict
from verification.harness.report.model import RunReport


def tell(report: RunReport, summary: str) -> None:
    """Append the summary and print the annotations, when this runs under GitHub Actions."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(summary)
    # A command begins its line; pytest may have left one unfinished.
    print("", *workflow_commands(report), sep="\n")  # noqa: T201  commands are lines of stdout


def workflow_commands(report: RunReport) -> list[str]:
    """One workflow command for each false claim: file, line, and the checklist's lines."""
    return [_annotation(report, one) for one in report.claims_that_are(ClaimVerdict.FALSE)]


def _annotation(report: RunReport, result: ClaimResult) -> str:
    facts = result.facts
    lines = "; ".join(one.item.text for one in report.items if result in one.claims)
    title = _property(f"{facts.id}: {facts.sentence}")
    first = result.why.split("\n")[0]
    message = _data(f"{lines or 'no line of the checklist'}\n{first}\n{report.reproduce(facts)}")
    return f"::error file={_property(facts.file)},line={facts.line},title={title}::{message}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
