"""Keeps the evidence of a claim while it runs: the history, what went over the wire, the verdict.

One place catches every exception: evidence that cannot be kept is noted, and never changes
what the claim says.
"""

from __future__ import annotations

import traceback
from typing import Final

import pytest

from verification.harness import capabilities, collection
from verification.harness.claim_verdict import Phase
from verification.harness.evidence import Evidence
from verification.harness.fixtures import TARGET
from verification.harness.run_options import RUN
from verification.history import History

EVIDENCE: Final = pytest.StashKey[Evidence]()
PHASES: Final = pytest.StashKey[list[Phase]]()
SECTION: Final = "evidence"


def begin(item: pytest.Item) -> None:
    """Make the claim's folder, empty."""
    folder = item.config.stash[RUN].evidence / collection.facts(item).evidence
    item.stash[EVIDENCE], item.stash[PHASES] = Evidence(folder), []


def evidence_of(item: pytest.Item) -> Evidence:
    """The claim's evidence. Raises pytest.UsageError for a test that is no claim."""
    if EVIDENCE not in item.stash:
        raise pytest.UsageError(f"{item.nodeid}: only a claim keeps evidence")
    return item.stash[EVIDENCE]


def keep(item: pytest.Item, phase: Phase, report: pytest.TestReport) -> Phase:
    """Keep what the phase left, and give it back with secrets masked.

    After the call: history and traces, while the stack still stands. After the teardown: what
    the claim says of itself and what became of it.
    """
    evidence = item.stash.get(EVIDENCE, None)
    if evidence is None:
        return phase
    if phase.when == "call" or (phase.when == "setup" and report.failed):
        _keep_traces(item, evidence)
    phase = Phase(phase.when, phase.verdict, evidence.masked(phase.why), phase.reason)
    item.stash[PHASES].append(phase)
    if report.failed:
        evidence.attach_text(f"failure-{phase.when}.txt", evidence.masked(report.longreprtext))
        lines = [f"kept in {evidence.folder}", *evidence.telling_lines()]
        report.sections.append((SECTION, "\n".join(lines)))
    if phase.when == "teardown":
        _close(item, evidence)
    return phase


def _keep_traces(item: pytest.Item, evidence: Evidence) -> None:
    history = getattr(item, "funcargs", {}).get("history")
    if isinstance(history, History):
        history.write(evidence.folder / "history.jsonl")
    target = item.stash.get(TARGET, None)
    if target is None:
        return
    try:
        evidence.hide(target.secrets)
        target.keep_traces(evidence.folder)
    except Exception:  # noqa: BLE001  the service may be in any state; what is missing is said
        evidence.attach_text("evidence-missing.txt", traceback.format_exc())
    evidence.close()


def _close(item: pytest.Item, evidence: Evidence) -> None:
    facts = collection.facts(item)
    said = [
        {"phase": phase.when, "verdict": phase.verdict, "why": phase.why}
        for phase in item.stash[PHASES]
    ]
    run = item.config.stash[RUN]
    evidence.attach_json(
        "claim",
        {
            "id": facts.id,
            "claim": facts.sentence,
            "test": facts.nodeid,
            "source": facts.source,
            "promises": facts.promises,
            "items": facts.items,
            "configuration": facts.configuration,
            "faults": facts.faults,
            "seed": run.seed,
            "stack": run.stack,
            "phases": said,
        },
    )
    evidence.close()


def hold(item: pytest.Item) -> None:
    """Print where the claim's stack can be reached, and wait for Enter or the end of stdin."""
    target = item.stash.get(TARGET, None)
    if target is None:
        return
    capture = item.config.pluginmanager.getplugin("capturemanager")
    addresses = {"service": target.base_url}
    if capabilities.FAULTS in target.capabilities:
        addresses["service through Toxiproxy"] = target.proxied_url
    lines = [f"  {name}: {url}" for name, url in addresses.items()]
    # pytest's own context gives back output only; Enter comes from the terminal.
    capture.suspend(in_=True)
    try:
        print("\nthe stack is up:", *lines, "Enter ends it.", sep="\n", flush=True)  # noqa: T201
        input()
    except EOFError:
        return
    finally:
        capture.resume()
