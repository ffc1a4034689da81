"""The suite's pytest plugin: claims become verdicts, verdicts a run's verdict and its reports.

Loaded by the root conftest. It does nothing to tests that are no claims, and writes nothing
unless the run is a verification (the claims' folder, `--claim` or `--reports` was named).
The parts: run_options, collection and schedule, recording, claim_verdict, controller.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from verification.harness import claim_results, claim_verdict, claims, collection, recording
from verification.harness.claim_results import FACTS, PHASE, ClaimResults, facts_to, phase_to
from verification.harness.claim_verdict import ClaimVerdict
from verification.harness.controller import RESULTS, Controller, Worker
from verification.harness.evidence import Evidence
from verification.harness.run_options import RUN, add_options, read_options

MARKER = "claim(id, proves, needs, env, workers, faults, full): see verification/harness/claims.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of a verification."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the options and take this process's part: controller or worker."""
    config.addinivalue_line("markers", MARKER)
    run = read_options(config)
    config.stash[RUN], config.stash[RESULTS] = run, ClaimResults()
    if run.is_verification:
        part = Controller(config) if run.is_controller else Worker(config)
        config.pluginmanager.register(part, "llmhive-verification")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note every claim, leave out what was not asked for, order the rest."""
    if any(claims.claim_of(item) for item in items) or config.stash[RUN].claims:
        collection.arrange(config, items, config.stash[RUN], config.stash[RESULTS])


def pytest_deselected(items: list[pytest.Item]) -> None:
    """A claim that was left out is not verified, and the report says so."""
    for item in items:
        if claims.claim_of(item):
            item.config.stash[RESULTS].know(collection.facts(item), selected=False)


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """The folder in which this claim keeps what it saw."""
    return recording.evidence_of(request.node)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin a claim's evidence."""
    if claims.claim_of(item):
        recording.begin(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give the report of each phase of a claim its verdict, and keep the evidence."""
    report = yield
    if not claims.claim_of(item):
        return report
    phase = claim_verdict.judge_phase(str(report.when), call.excinfo)
    if hasattr(report, "wasxfail"):
        phase = claim_verdict.quarantined(str(report.when), report.wasxfail)
    phase = recording.keep(item, phase, report)
    if report.when == "setup":
        report.user_properties.append((FACTS, facts_to(collection.facts(item))))
    report.user_properties.append((PHASE, phase_to(phase)))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """With `--keep` the last stack stays up, its addresses printed, until Enter."""
    if nextitem is None and item.config.stash[RUN].keep:
        recording.hold(item)


def pytest_report_teststatus(
    report: pytest.TestReport | pytest.CollectReport,
) -> tuple[str, str, str] | None:
    """Show a claim that is unknown as an error, for that is no failure of the service."""
    said = claim_results.said(report)
    if said is ClaimVerdict.FALSE:
        return "failed", "F", "FALSE"
    if said is ClaimVerdict.UNKNOWN and report.failed:
        return "error", "U", "UNKNOWN"
    return None
