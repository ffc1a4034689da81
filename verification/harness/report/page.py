"""report.html: the run for people who were not there. One file, nothing fetched, no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2

from verification.contract import promises
from verification.harness.claim_results import slowest
from verification.harness.claim_verdict import ClaimVerdict
from verification.harness.readiness import ItemResult
from verification.harness.report.model import RunReport

TEMPLATE: Final = "report.html.j2"
SLOWEST_SHOWN: Final = 20
ORDER: Final = (
    ClaimVerdict.TRUE,
    ClaimVerdict.FALSE,
    ClaimVerdict.UNKNOWN,
    ClaimVerdict.UNVERIFIED,
)
# The checklist's sections as people know them; a section is the first part of an item's id.
TITLES: Final = {
    "env": "Environment variables",
    "secrets": "Secrets management",
    "redis": "Redis",
    "stripe": "Stripe webhook",
    "quotas": "Provider quotas",
    "metrics": "Metrics",
    "alerts": "Alerts",
    "logs": "Logs",
    "security": "Security hardening",
    "predeploy": "Before a deployment",
    "postdeploy": "After a deployment",
    "limitations": "Known limitations",
    "emergency": "Emergency procedures",
    "rollback": "Rollback",
    "triage": "Triage",
}


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of the checklist with its lines, and how many have which verdict."""

    title: str
    items: tuple[ItemResult, ...]

    @property
    def counts(self) -> list[tuple[ClaimVerdict, int]]:
        """Verdict and number of lines, none left out."""
        return [(one, sum(item.verdict is one for item in self.items)) for one in ORDER]

    @property
    def is_troubled(self) -> bool:
        """Whether a line is false or unknown."""
        bad = {ClaimVerdict.FALSE, ClaimVerdict.UNKNOWN}
        return any(item.verdict in bad for item in self.items)


def document(report: RunReport) -> str:
    """The page, complete in itself."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    return environment.get_template(TEMPLATE).render(**_facts(report))


def _facts(report: RunReport) -> dict[str, Any]:
    return {
        "report": report,
        "order": ORDER,
        "share": [
            (one, sum(item.verdict is one for item in report.items) * 100 / len(report.items))
            for one in ORDER
        ]
        if report.items
        else [],
        "claim_counts": [(one, len(report.claims_that_are(one))) for one in ORDER],
        "troubles": [
            *report.claims_that_are(ClaimVerdict.FALSE),
            *report.claims_that_are(ClaimVerdict.UNKNOWN),
        ],
        "chapters": _chapters(report.items),
        "beyond": [result for result in report.claims if not result.facts.items],
        "unverified": _unverified(report),
        "slowest": slowest(report.claims, SLOWEST_SHOWN),
        "lines_of": lambda result: [one for one in report.items if result in one.claims],
        "promise": lambda name: promises.EVERY[name].text if name in promises.EVERY else name,
        "attested": [one for one in report.items if one.attestation or one.waiver],
    }


def _chapters(items: Sequence[ItemResult]) -> list[Chapter]:
    found: dict[str, list[ItemResult]] = {}
    for result in items:
        found.setdefault(result.item.id.partition(".")[0], []).append(result)
    return [Chapter(TITLES.get(name, name), tuple(lines)) for name, lines in found.items()]


def _unverified(report: RunReport) -> list[tuple[str, list[str]]]:
    """Why, as a heading with its count -> what: claims by what they wanted, unproved lines."""
    groups: dict[tuple[str, str], list[str]] = {}
    for result in report.claims_that_are(ClaimVerdict.UNVERIFIED):
        groups.setdefault(("claim", f": {result.why}"), []).append(result.id)
    for item in report.items:
        if item.verdict is ClaimVerdict.UNVERIFIED and not item.claims:
            groups.setdefault(("line", _item_reason(item)), []).append(item.item.id)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return [(_counted(len(ids), *of), ids) for of, ids in ordered]


def _counted(count: int, noun: str, rest: str) -> str:
    return f"{count} {noun if count == 1 else noun + 's'}{rest}"


def _item_reason(item: ItemResult) -> str:
    known = {"no_claim": " of the checklist without a claim to prove it"}
    return known.get(item.why, f" of the checklist: {item.why}")


def duration(seconds: float) -> str:
    """Seconds as people say them: 0.4 s, 12 s, 2 min 05 s."""
    if seconds < 10:  # noqa: PLR2004  below it a tenth matters
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"  # noqa: PLR2004
