"""Lines of "Code Quality": the project's own sessions speak, if they spoke of these sources."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from verification.contract import checklist
from verification.harness import artefact, session_results
from verification.harness.session_results import ROWS

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = "0123456789abcdef"
SESSIONS = ("tests", "selftest", "lint", "types", "audit")


def spoke(
    reports: Path, sessions: dict[str, dict[str, Any]] | None = None, *, percent: float = 90.0
) -> Path:
    """Sessions that all passed for these sources, but for what is said of some."""
    (reports / "sessions").mkdir()
    (reports / "tests").mkdir()
    for name in SESSIONS:
        facts = {"session": name, "sources": SOURCES, "ok": True, **(sessions or {}).get(name, {})}
        (reports / "sessions" / f"{name}.json").write_text(json.dumps(facts))
    totals = {"totals": {"percent_covered": percent}}
    (reports / "tests" / "coverage.json").write_text(json.dumps(totals))
    return reports


def verdicts(reports: Path, sources: str = SOURCES) -> dict[str, str]:
    """Line -> verdict."""
    return {
        result.facts.items[0].rpartition(".")[2]: str(result.verdict)
        for result in session_results.read(reports, sources)
    }


def test_sessions_that_passed_verify_every_line_of_the_section(tmp_path: Path) -> None:
    found = verdicts(spoke(tmp_path))

    lines = [one for one in checklist.items().values() if one.section == "predeploy.code"]
    assert found == {one.id.rpartition(".")[2]: "true" for one in lines}


@pytest.mark.parametrize(
    ("session", "line"),
    [
        ("tests", "tests"),
        ("selftest", "tests"),
        ("lint", "ruff"),
        ("types", "mypy"),
        ("audit", "bandit"),
    ],
)
def test_a_session_that_failed_makes_its_line_false_and_no_other(
    tmp_path: Path, session: str, line: str
) -> None:
    found = verdicts(spoke(tmp_path, {session: {"ok": False}}))

    assert [name for name, said in found.items() if said == "false"] == [line]


@pytest.mark.parametrize(("percent", "said"), [(70.0, "false"), (70.1, "true")])
def test_coverage_is_the_checklists_own_number(tmp_path: Path, percent: float, said: str) -> None:
    assert verdicts(spoke(tmp_path, percent=percent))["coverage-over-70"] == said


def test_a_result_of_other_sources_is_refused_and_says_what_to_run(tmp_path: Path) -> None:
    spoke(tmp_path, {"lint": {"sources": "of yesterday"}})

    results = session_results.read(tmp_path, SOURCES)

    refused = [result for result in results if result.verdict == "unverified"]
    assert [result.why for result in refused] == ["of other sources: nox -s lint"]
    assert refused[0].reason == "not_selected"


@pytest.mark.parametrize("sources", ["", SOURCES], ids=["not-ours", "never-ran"])
def test_without_a_result_for_what_is_judged_nothing_is_said(tmp_path: Path, sources: str) -> None:
    reports = spoke(tmp_path) if not sources else tmp_path

    assert set(verdicts(reports, sources).values()) == {"unverified"}


def test_tests_that_wrote_no_coverage_leave_the_line_unknown(tmp_path: Path) -> None:
    spoke(tmp_path)
    (tmp_path / "tests" / "coverage.json").write_text("{}")

    assert verdicts(tmp_path)["coverage-over-70"] == "unknown"


JUDGED = (
    "llmhive/app/errors.py",
    "verification/history.py",
    "chaos/runner.py",
    "load/gate.py",
    "requirements/service.txt",
    "noxfile.py",
    "pyproject.toml",
)


@pytest.mark.parametrize("change", JUDGED)
def test_any_change_of_the_sources_changes_their_fingerprint(tmp_path: Path, change: str) -> None:
    for name in JUDGED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    before = artefact.session_sources(tmp_path)

    (tmp_path / change).write_text("two")

    assert artefact.session_sources(tmp_path) != before


def test_every_line_has_one_row() -> None:
    assert len({row.item for row in ROWS}) == len(ROWS)
