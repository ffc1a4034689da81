"""summary.md: the run on one screen, for a pull request."""

from __future__ import annotations

from collections.abc import Iterator

from verification.harness.claim_results import ClaimResult
from verification.harness.claim_verdict import ClaimVerdict
from verification.harness.readiness import RunVerdict, unmet_blocking
from verification.harness.report.model import RunReport

SIGNS = {RunVerdict.PASS: "✅", RunVerdict.FAIL: "❌", RunVerdict.UNKNOWN: "❔"}
WHY_LINES = 8


def document(report: RunReport) -> str:
    """The document in GitHub's Markdown."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: RunReport) -> Iterator[str]:
    yield f"## {SIGNS[report.verdict]} {report.headline}"
    yield ""
    stack = report.stack["versions"].items()
    versions = ", ".join(f"{name} {version}" for name, version in stack)
    judged = ", ".join(f"{name} {value}" for name, value in report.artefact.items())
    yield f"Stack: {report.stack['kind']}{f' ({versions})' if versions else ''}. Judged: {judged}."
    yield f"{len(report.claims)} claims in {report.seconds:.0f} s, seed {report.seed}."
    yield ""
    for verdict in (ClaimVerdict.FALSE, ClaimVerdict.UNKNOWN):
        for result in report.claims_that_are(verdict):
            yield from _trouble(report, result)
    for name in report.uncollected:
        yield f"- could not be collected: `{name}`"
    if report.gate and (unmet := unmet_blocking(report.items)):
        yield "### Blocking lines that are not met"
        yield ""
        yield from (f"- `{one.item.id}` {_cell(one.item.text)}: {_cell(one.why)}" for one in unmet)
        yield ""
    yield from _by_section(report)
    yield ""
    yield from (f"- {line}" for line in report.unverified_claims())


def _trouble(report: RunReport, result: ClaimResult) -> Iterator[str]:
    facts = result.facts
    yield f"### {result.verdict}: {facts.sentence}"
    yield ""
    yield f"`{facts.id}` at `{facts.file}:{facts.line}`, for {_lines_of(report, result)}"
    yield ""
    fence = "````"
    yield fence
    yield from (line.replace("`" * 4, "'" * 4) for line in result.why.splitlines()[:WHY_LINES])
    yield fence
    yield ""
    yield f"Evidence: `{report.evidence_link(facts)}`. Again: `{report.reproduce(facts)}`"
    yield ""


def _lines_of(report: RunReport, result: ClaimResult) -> str:
    texts = [one.item.text for one in report.items if result in one.claims]
    return "; ".join(texts) or "no line of the checklist"


def _by_section(report: RunReport) -> Iterator[str]:
    sections: dict[str, dict[ClaimVerdict, int]] = {}
    for result in report.items:
        counts = sections.setdefault(result.item.section, dict.fromkeys(ClaimVerdict, 0))
        counts[result.verdict] += 1
    yield "| Section | verified | false | unknown | unverified |"
    yield "|---|---:|---:|---:|---:|"
    for section, counts in sections.items():
        order = (
            ClaimVerdict.TRUE,
            ClaimVerdict.FALSE,
            ClaimVerdict.UNKNOWN,
            ClaimVerdict.UNVERIFIED,
        )
        yield f"| {section} | " + " | ".join(str(counts[one] or "") for one in order) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
