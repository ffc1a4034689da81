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
    sessions: tuple[str, ...]
    item: str
    sentence: str

    @property
    def command(self) -> str:
        return f"nox -s {' '.join(self.sessions)}"


ROWS: Final = (
    _Row(("tests", "selftest"), "predeploy.code.tests", "all tests of the project pass"),
    _Row(("tests",), "predeploy.code.coverage-over-70", "their coverage is above 70 %"),
    _Row(("lint",), "predeploy.code.ruff", "ruff has no complaint"),
    _Row(("types",), "predeploy.code.mypy", "mypy has no complaint"),
    _Row(("audit",), "predeploy.code.bandit", "bandit has no complaint"),
)


def read(reports: Path, sources: str) -> list[ClaimResult]:
    """One claim for each line of "Code Quality".

    Takes: `reports`, the folder with `sessions/` and `tests/`; `sources`, the fingerprint that
    a result has to carry, empty when none can be about what is judged.
    """
    return [_judge(row, reports, sources) for row in ROWS]


def _judge(row: _Row, reports: Path, sources: str) -> ClaimResult:
    facts = ClaimFacts(
        nodeid=row.command,
        id=f"sessions.{row.item.rpartition('.')[2]}",
        sentence=row.sentence,
        source=SOURCE,
        promises=(),
        items=(row.item,),
        file="noxfile.py",
        line=0,
        evidence="",
    )
    found = [_json(reports / "sessions" / f"{name}.json") for name in row.sessions]
    if not sources or any(one.get("sources") != sources for one in found):
        why = "of other sources" if all(found) and sources else "no result for what is judged"
        return ClaimResult(
            id=facts.id,
            facts=facts,
            verdict=ClaimVerdict.UNVERIFIED,
            why=f"{why}: {row.command}",
            reason=NOT_SELECTED,
        )
    verdict, why = _verdict(row, found, reports)
    return ClaimResult(id=facts.id, facts=facts, verdict=verdict, why=why)


def _verdict(row: _Row, found: list[dict[str, Any]], reports: Path) -> tuple[ClaimVerdict, str]:
    if row.item.endswith("coverage-over-70"):
        totals = _json(reports / "tests" / "coverage.json").get("totals", {})
        percent = totals.get("percent_covered")
        if not isinstance(percent, int | float):
            return ClaimVerdict.UNKNOWN, "no coverage was written"
        over = percent > COVERAGE_PERCENT_OVER
        return (ClaimVerdict.TRUE if over else ClaimVerdict.FALSE), f"{percent:.1f} %"
    failed = [one for one in found if one.get("ok") is not True]
    return (ClaimVerdict.FALSE, f"{row.command} fails") if failed else (ClaimVerdict.TRUE, "")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
