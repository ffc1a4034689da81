"""junit.xml: false is a failure, unknown an error, unverified skipped with its reason."""

from __future__ import annotations

import re
from typing import Final
from xml.etree import ElementTree as ET

from verification.harness.claim_results import ClaimResult
from verification.harness.claim_verdict import ClaimVerdict
from verification.harness.report.model import RunReport

# XML 1.0 knows no other control characters than tab and line ends.
FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
TAGS: Final = {
    ClaimVerdict.FALSE: "failure",
    ClaimVerdict.UNKNOWN: "error",
    ClaimVerdict.UNVERIFIED: "skipped",
}


def document(report: RunReport) -> bytes:
    """The document, in UTF-8."""
    counts = {verdict: len(report.claims_that_are(verdict)) for verdict in ClaimVerdict}
    suite = ET.Element(
        "testsuite",
        name="verify",
        tests=str(len(report.claims)),
        failures=str(counts[ClaimVerdict.FALSE]),
        errors=str(counts[ClaimVerdict.UNKNOWN]),
        skipped=str(counts[ClaimVerdict.UNVERIFIED]),
        time=f"{report.seconds:.2f}",
        timestamp=report.started.isoformat(timespec="seconds"),
    )
    for result in report.claims:
        suite.append(_case(report, result))
    suites = ET.Element("testsuites", name=_clean(report.headline))
    suites.append(suite)
    ET.indent(suites)
    return bytes(ET.tostring(suites, encoding="utf-8", xml_declaration=True))


def _case(report: RunReport, result: ClaimResult) -> ET.Element:
    facts = result.facts
    case = ET.Element(
        "testcase",
        classname=facts.id.rpartition(".")[0],
        name=_clean(f"{facts.id}: {facts.sentence}"),
        file=facts.file,
        line=str(facts.line),
        time=f"{result.seconds:.2f}",
    )
    named = {
        "claim": facts.id,
        "items": " ".join(facts.items),
        "promises": " ".join(facts.promises),
        "evidence": report.evidence_link(facts),
    }
    properties = ET.SubElement(case, "properties")
    for name, value in named.items():
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    if tag := TAGS.get(result.verdict):
        reason = f"{result.reason}: " if result.reason else ""
        first = result.why.split("\n")[0]
        said = ET.SubElement(case, tag, message=_clean(f"{reason}{first}"))
        if tag != "skipped":
            said.set("type", result.verdict.value)
            said.text = _clean(f"{result.why}\n\nagain: {report.reproduce(facts)}")
    return case


def _clean(text: str) -> str:
    return FORBIDDEN.sub("�", text)
