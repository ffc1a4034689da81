"""Results of the project's own sessions (tests, lint, types, audit) as claims.

They feed the checklist's "Code Quality". A result of other sources is refused, and none is
taken when something else than these sources is judged. Source: reference, checklist items.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from verification.harness.claim_results import ClaimFacts, ClaimResult
from verification.harness.claim_verdict import NOT_SELECTED, ClaimVerdict

# The checklist's own number.
COVERAGE_PERCENT_OVER: Final = 70.0
SOURCE: Final = "checklist, Code Quality"


@dataclass(frozen=True, slots=True)
class _Row:
    session: str
    item: str
    sentence: str


ROWS: Final = (
    _Row("tests", "predeploy.code.tests", "all tests of the project pass"),
    _Row("tests", "predeploy.code.coverage-over-70", "their coverage is above 70 %"),
    _Row("lint", "predeploy.code.ruff", "ruff has no complaint"),
    _Row("types", "predeploy.code.mypy", "mypy has no complaint"),
    _Row("audit", "predeploy.code.bandit", "bandit has no complaint"),
)


def read(reports: Path, sources: str) -> list[ClaimResult]:
    """One claim for each line of "Code Quality".

    Takes: `reports`, the folder with `sessions/` and `tests/`; `sources`, the fingerprint that
    a result has to carry, empty when none can be about what is judged.
    """
    return [_judge(row, reports, sources) for row in ROWS]


def _judge(row: _Row, reports: Path, sources: str) -> ClaimResult:
    path = reports / "sessions" / f"{row.session}.json"
    facts = ClaimFacts(
        nodeid=f"nox -s {row.session}",
        id=f"sessions.{row.item.rpartition('.')[2]}",
        sentence=row.sentence,
        source=SOURCE,
        promises=(),
        items=(row.item,),
        file="noxfile.py",
        line=0,
        evidence="",
    )
    found = _json(path)
    if not sources or found.get("sources") != sources:
        why = "of other sources" if found and sources else "no result for what is judged"
        return ClaimResult(
            id=facts.id,
            facts=facts,
            verdict=ClaimVerdict.UNVERIFIED,
            why=f"{why}: nox -s {row.session}",
            reason=NOT_SELECTED,
        )
    verdict, why = _verdict(row, found, reports)
    return ClaimResult(id=facts.id, facts=facts, verdict=verdict, why=why)


def _verdict(row: _Row, found: dict[str, Any], reports: Path) -> tuple[ClaimVerdict, str]:
    if row.item.endswith("coverage-over-70"):
        totals = _json(reports / "tests" / "coverage.json").get("totals", {})
        percent = totals.get("percent_covered")
        if not isinstance(percent, int | float):
            return ClaimVerdict.UNKNOWN, "no coverage was written"
        over = percent > COVERAGE_PERCENT_OVER
        return (ClaimVerdict.TRUE if over else ClaimVerdict.FALSE), f"{percent:.1f} %"
    if found.get("ok") is True:
        return ClaimVerdict.TRUE, ""
    return ClaimVerdict.FALSE, f"nox -s {row.session} fails"


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
