"""readiness.json: the run for programs. Its shape is DESIGN section 6, and nothing more."""

from __future__ import annotations

from typing import Any, Final

from verification.harness.claim_results import ClaimResult
from verification.harness.readiness import Attestation, ItemResult, Waiver
from verification.harness.report.model import RunReport

# Raised when a field changes its meaning or goes; new fields do not count.
SCHEMA: Final = 1


def document(report: RunReport) -> dict[str, Any]:
    """The document as a value of JSON."""
    return {
        "schema": SCHEMA,
        "target": report.target,
        "artefact": report.artefact,
        "stack": report.stack,
        "started": report.started.isoformat(timespec="seconds"),
        "finished": report.finished.isoformat(timespec="seconds"),
        "verdict": report.verdict.value,
        "verified": report.verified,
        "of": len(report.items),
        "items": [_item(result) for result in report.items],
        "claims": [_claim(report, result) for result in report.claims],
    }


def _item(result: ItemResult) -> dict[str, Any]:
    return {
        "id": result.item.id,
        "section": result.item.section,
        "text": result.item.text,
        "severity": result.item.severity.value,
        "verdict": result.verdict.value,
        "why": result.why,
        "claims": [claim.id for claim in result.claims],
        "attestation": _attestation(result.attestation),
        "waiver": _waiver(result.waiver),
    }


def _claim(report: RunReport, result: ClaimResult) -> dict[str, Any]:
    return {
        "id": result.id,
        "claim": result.facts.sentence,
        "source": result.facts.source,
        "verdict": result.verdict.value,
        "seconds": result.seconds,
        "evidence": report.evidence_link(result.facts),
        "reproduce": report.reproduce(result.facts),
    }


def _attestation(found: Attestation | None) -> dict[str, str] | None:
    if found is None:
        return None
    return {
        "by": found.by,
        "on": found.on.isoformat(),
        "expires": found.expires.isoformat(),
        "evidence": found.evidence,
    }


def _waiver(found: Waiver | None) -> dict[str, str] | None:
    if found is None:
        return None
    return {
        "owner": found.owner,
        "reason": found.reason,
        "expires": found.expires.isoformat(),
    }
