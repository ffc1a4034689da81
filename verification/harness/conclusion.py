"""The end of a run: lines of the checklist judged, reports written, the terminal told."""

from __future__ import annotations

import datetime as dt
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from verification.contract import checklist
from verification.harness import artefact, github, readiness, session_results
from verification.harness.claim_results import ClaimFacts, ClaimResult, slowest
from verification.harness.claim_verdict import ClaimVerdict
from verification.harness.readiness import Declarations, RunVerdict
from verification.harness.report import junit, page, readiness_json, summary
from verification.harness.report.model import Fault, RunReport
from verification.harness.report.remarks import remarks
from verification.harness.run_options import Run
from verification.harness.stack.programs import ROOT

# Enough to see where the time goes, few enough to be read.
SLOWEST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The judged run."""

    report: RunReport

    @property
    def verdict(self) -> RunVerdict:
        """What the run says."""
        return self.report.verdict

    def say(self, terminal: Any) -> None:
        """Print the verdict to pytest's terminal, with what a reader needs next."""
        report = self.report
        ran = slowest(report.claims, SLOWEST_SHOWN)
        terminal.section("slowest claims", sep="-")
        for result in ran:
            terminal.write_line(f"{result.seconds:7.2f} s  {result.id}")
        for verdict in (ClaimVerdict.FALSE, ClaimVerdict.UNKNOWN):
            for result in report.claims_that_are(verdict):
                terminal.section(f"{verdict}: {result.id}", sep="-", red=True)
                for line in _explained(report, result):
                    terminal.write_line(line)
        terminal.section(report.headline, bold=True)
        for line in report.unverified_claims():
            terminal.write_line(line)
        terminal.write_line(f"report: {report.folder / 'report.html'}")


def _explained(report: RunReport, result: ClaimResult) -> Iterator[str]:
    yield f"  {result.facts.sentence}"
    yield from (f"  {line}" for line in result.why.splitlines()[:12])
    if result.facts.evidence:
        yield f"  evidence: {report.evidence / result.facts.evidence}"
    if line := report.reproduce(result.facts):
        yield f"  again: {line}"


def conclude(
    run: Run,
    results: Sequence[ClaimResult],
    declared: Declarations,
    *,
    aim: dict[str, Any],
    uncollected: Sequence[str] = (),
) -> Conclusion:
    """Judge the run and write its reports into its folder.

    Takes: `uncollected`, files of claims that could not be read; with any, a pass is unknown.
    """
    report = _judged(run, results, declared, aim=aim, uncollected=uncollected)
    folder = run.reports
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(readiness_json.document(report), indent=2, ensure_ascii=False)
    (folder / "readiness.json").write_text(text + "\n", "utf-8")
    (folder / "junit.xml").write_bytes(junit.document(report))
    told = summary.document(report)
    (folder / "summary.md").write_text(told, "utf-8")
    (folder / "report.html").write_text(page.document(report), "utf-8")
    github.tell(told, remarks(report))
    return Conclusion(report)


def _judged(
    run: Run,
    results: Sequence[ClaimResult],
    declared: Declarations,
    *,
    aim: dict[str, Any],
    uncollected: Sequence[str],
) -> RunReport:
    now = dt.datetime.now(dt.UTC)
    claims = [*results, *_sessions(run)]
    items = readiness.judge_items(
        checklist.items().values(), claims, declared, today=now.date(), narrowed=run.narrowed
    )
    verdict = readiness.judge_run(claims, items, gate=run.gate)
    if uncollected and verdict is RunVerdict.PASS:
        verdict = RunVerdict.UNKNOWN
    return RunReport(
        verdict=verdict,
        headline=readiness.headline(verdict, items, gate=run.gate),
        gate=run.gate,
        items=tuple(items),
        claims=tuple(claims),
        target=aim,
        artefact=artefact.describe() if not run.target else {"kind": "remote"},
        stack={"kind": run.stack, "versions": run.versions},
        started=dt.datetime.fromtimestamp(run.started_s, dt.UTC),
        finished=now,
        folder=run.reports,
        evidence=run.evidence,
        seed=run.seed,
        again=_again(run),
        faults=tuple(_faults(run, results)),
        uncollected=tuple(uncollected),
    )


def _sessions(run: Run) -> list[ClaimResult]:
    """Results of the project's own sessions, in a run over everything that we built."""
    if run.narrowed:
        return []
    is_ours = not run.target and artefact.is_of_these_sources()
    sources = artefact.session_sources() if is_ours else ""
    return session_results.read(ROOT / "reports", sources)


def _again(run: Run) -> str:
    aim = f"--target {shlex.quote(run.target)}" if run.target else f"--stack {run.stack}"
    return aim if run.seed is None else f"{aim} --randomly-seed={run.seed}"


def _faults(run: Run, results: Sequence[ClaimResult]) -> Iterator[Fault]:
    for result in results:
        yield from _faults_of(run, result.facts)


def _faults_of(run: Run, facts: ClaimFacts) -> Iterator[Fault]:
    for path in sorted((run.evidence / facts.id).rglob("faults.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            yield Fault(
                claim=facts.id,
                link=str(row.get("link", "")),
                fault=str(row.get("fault", "")),
                met=str(row.get("met", "")),
                bit="bites_s" in row,
                healed="healed_s" in row,
                seconds=_lasted(row),
            )


def _lasted(row: dict[str, Any]) -> float | None:
    began, healed = row.get("bites_s"), row.get("healed_s")
    return round(healed - began, 2) if began is not None and healed is not None else None
