"""What a run leaves: evidence of every claim, reports, a line that makes a false claim again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from verification.selftest.plugin.inner_run import Ran, run

CLAIMS = '''
@claim("kept.true", proves=[p.PRINTED_HEALTH])
def test_health_answers(history, evidence):
    history.add(process="p", f="chat", outcome="ok", started_s=1.0, finished_s=2.0)
    evidence.attach_json("seen", {"a": 1})
    evidence.append_line("steps", {"step": 1})

@claim("kept.false", proves=[p.APPLIED_ONCE, p.ACKNOWLEDGED_WHEN_DONE], workers=2,
       env={"RATE_LIMIT_WINDOW_S": "3"}, faults=["redis"])
def test_an_event_is_applied_once():
    """Told to the reader: <b>&amp; 100 %</b>."""
    assert [1, 2] == [1], "two <rows> of evt_1"

@claim("kept.skipped", proves=[p.TIERS])
def test_tiers():
    pytest.skip("unverified: this target lacks users")

@claim("kept.unknown", proves=[p.CORS])
def test_origins():
    unknown("origins", "no worker answered").require()
'''
REPORTS = ("readiness.json", "junit.xml", "summary.md", "report.html")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One run that all look at."""
    folder = tmp_path_factory.mktemp("left")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(folder / "step.md")}
    return run(folder, CLAIMS, env=github)


def test_every_report_is_there(ran: Ran) -> None:
    assert [name for name in REPORTS if not (ran.reports / name).exists()] == []


def test_readiness_has_the_documented_shape(ran: Ran) -> None:
    found = ran.readiness

    assert list(found) == [
        "schema", "target", "artefact", "stack", "started", "finished", "verdict", "verified",
        "of", "items", "claims",
    ]  # fmt: skip
    assert set(found["items"][0]) == {
        "id", "section", "text", "severity", "verdict", "why", "claims", "attestation", "waiver",
    }  # fmt: skip
    assert set(found["claims"][0]) == {
        "id", "claim", "source", "verdict", "seconds", "evidence", "reproduce",
    }  # fmt: skip


def test_a_line_takes_its_worst_claim(ran: Ran) -> None:
    assert ran.item("postdeploy.health")[0] == "true"
    assert ran.item("stripe.health.duplicates-skipped")[0] == "false"
    assert ran.item("security.auth.rate-limit-per-user")[1] == (
        "kept.skipped: capability: this target lacks users"
    )


def test_a_line_without_a_claim_says_that_the_run_was_narrowed(ran: Ran) -> None:
    assert ran.item("metrics.memory") == ("unverified", "not_selected: claims")


def test_a_pass_keeps_its_evidence_too(ran: Ran) -> None:
    folder = ran.reports / "evidence" / "kept.true"

    kept = sorted(path.name for path in folder.iterdir())
    assert kept == ["claim.json", "history.jsonl", "seen.json", "steps.jsonl"]
    phases = json.loads((folder / "claim.json").read_text())["phases"]
    assert [phase["verdict"] for phase in phases] == [None, "true", None]


def test_a_false_claim_prints_the_line_that_makes_it_again(ran: Ran) -> None:
    row = next(row for row in ran.readiness["claims"] if row["id"] == "kept.false")

    assert row["reproduce"].startswith("nox -s verify -- --claim kept.false --stack processes")
    assert row["reproduce"].endswith("-n 0  # 2 workers RATE_LIMIT_WINDOW_S=3; faults: redis")
    assert row["reproduce"] in ran.output


def test_junit_tells_the_verdicts_apart(ran: Ran) -> None:
    suite = ET.parse(ran.reports / "junit.xml").getroot()[0]  # noqa: S314  written by ourselves

    counts = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    said = {
        str(case.get("name")).partition(":")[0]: (case[-1].tag, case[-1].get("message"))
        for case in suite
    }
    assert counts == {"tests": "4", "failures": "1", "errors": "1", "skipped": "1"}
    assert said == {
        "kept.true": ("properties", None),
        "kept.false": ("failure", "AssertionError: two <rows> of evt_1"),
        "kept.unknown": ("error", "unknown: origins: no worker answered"),
        "kept.skipped": ("skipped", "capability: this target lacks users"),
    }


def test_the_summary_tells_each_trouble_with_its_lines_and_how_to_see_it_again(ran: Ran) -> None:
    summary = (ran.reports / "summary.md").read_text()

    assert summary.startswith("## ❌ fail: 1 of 130 lines verified")
    assert "### false: an event is applied once" in summary
    assert "### unknown: origins" in summary
    assert "Again: `nox -s verify -- --claim kept.false" in summary
    assert "- not verified: 1 claim, for want of users" in summary


def test_the_page_is_whole_in_itself_and_escapes_what_it_shows(ran: Ran) -> None:
    page = (ran.reports / "report.html").read_text()

    assert "two &lt;rows&gt; of evt_1" in page
    assert not any(mark in page for mark in ("http://", "https://", "<script", "@import", "url("))


def test_github_gets_a_summary_and_an_annotation_for_the_false_claim(ran: Ran) -> None:
    step = (ran.reports.parent / "step.md").read_text()
    errors = [line for line in ran.output.splitlines() if line.startswith("::error")]

    assert step.startswith("## ❌ fail: 1 of 130 lines verified")
    assert len(errors) == 1
    assert "Duplicate events change nothing" in errors[0]


def test_the_terminal_says_what_was_not_verified(ran: Ran) -> None:
    assert "not verified: 1 claim, for want of users" in ran.output


def test_the_twenty_slowest_claims_are_listed_the_slowest_first(tmp_path: Path) -> None:
    claims = (
        f'@claim("slow.n{number}", proves=[p.CORS])\ndef test_{number}(): waits()\n'
        for number in range(21)
    )

    waits = "import threading\n\ndef waits(): threading.Event().wait(0.01)\n\n"
    ran = run(tmp_path, waits + "\n".join(claims))

    shown = re.findall(r"^ +([\d.]+) s  slow\.n\d+$", ran.output, re.MULTILINE)
    assert len(shown) == 20
    assert [float(seconds) for seconds in shown] == sorted(map(float, shown), reverse=True)


def test_a_run_removes_the_reports_of_the_run_before(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "readiness.json").write_text("{}")

    ran = run(tmp_path, "", "-k", "nothing")

    assert (ran.code, (ran.reports / "readiness.json").exists()) == (5, False)
