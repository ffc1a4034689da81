"""Runs the claims against one planted service and reads what they said.

A mutant is caught only by a claim that is false. Unknown, a time-out of the suite or a
service that does not start never count: a suite that cannot measure has caught nothing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from verification.harness.mutation import experiments
from verification.harness.mutation.mutant import Mutant, MutantError, plant
from verification.harness.processes import CONTROLLER
from verification.harness.stack.service_environment import service_python

ROOT = Path(__file__).parents[3]
CAUGHT, MISSED, BROKEN = "caught", "missed", "broken"
# A whole run takes two minutes on two cores; one that takes ten times that is stuck.
RUN_S_MAX = 1200


@dataclass(frozen=True, slots=True)
class Detection:
    """What became of one mutant: `verdict` is caught, missed or broken."""

    id: str
    group: str
    verdict: str
    caught_by: tuple[str, ...]
    seconds: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a run of claims said: its verdict, and the claims by verdict."""

    verdict: str
    by_verdict: dict[str, tuple[str, ...]]
    output: str

    @property
    def false(self) -> tuple[str, ...]:
        """The ids of the claims that are false."""
        return self.by_verdict.get("false", ())


# From worst to best.
RANK = ("fail", "unknown", "pass")


def together(said: Sequence[Claims]) -> Claims:
    """What several runs said, as one: the worst verdict, the claims of all."""
    by_verdict: dict[str, tuple[str, ...]] = {}
    for one in said:
        for verdict, ids in one.by_verdict.items():
            by_verdict[verdict] = (*by_verdict.get(verdict, ()), *ids)
    worst = min((one.verdict for one in said), key=RANK.index, default="unknown")
    return Claims(worst, by_verdict, "\n".join(one.output for one in said))


def installed_package() -> Path:
    """The folder of the service's installed package, found by its own Python."""
    command = [str(service_python()), "-P", "-c", "import llmhive; print(llmhive.__path__[0])"]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


def run_claims(
    reports: Path,
    *,
    overlay: Path | None = None,
    claims: tuple[str, ...] = (),
    until_false: bool = False,
    first: tuple[str, ...] = (),
    workers: int = 0,
) -> Claims:
    """Run the named claims (all when none is named) and read `readiness.json`.

    Takes: `until_false` stops at the first false one, asking those that `first` names first.
    """
    command = [sys.executable, "-m", "pytest", "-q", "verification/suites", f"--reports={reports}"]
    command += ["-n", str(workers), "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    command += [f"--claim={claim}" for claim in claims]
    command += ["--until-false", *(f"--first={word}" for word in first)] if until_false else []
    # A run of one process ends with this one, however this one ends.
    environment = {**os.environ, CONTROLLER: str(os.getpid())}
    if overlay:
        environment["LLMHIVE_OVERLAY"] = str(overlay)
    try:
        run = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_S_MAX,
        )
        output = run.stdout + run.stderr
    except subprocess.TimeoutExpired as exc:
        output = f"the claims ran longer than {RUN_S_MAX} s: {exc}"
    return read_claims(reports / "readiness.json", output)


def read_claims(readiness: Path, output: str) -> Claims:
    """The claims of a written report by verdict; no report is unknown."""
    if not readiness.exists():
        return Claims("unknown", {}, output)
    report = json.loads(readiness.read_text())
    rows: dict[str, list[str]] = {}
    for row in report["claims"]:
        rows.setdefault(row["verdict"], []).append(row["id"])
    return Claims(report["verdict"], {name: tuple(ids) for name, ids in rows.items()}, output)


def likely(mutant: Mutant, caught_by: Sequence[str]) -> tuple[str, ...]:
    """Words of the claims to ask first: those that caught it, its promise, what it edits."""
    paths = [edit.file.removesuffix(".py") for edit in mutant.edits]
    parts = [part for path in paths for part in re.split(r"[/_]", path)[1:] if part != "app"]
    return tuple(dict.fromkeys([*caught_by, mutant.breaks, *parts]))


def judge(mutant: Mutant, package: Path, caught_by: Sequence[str]) -> Detection:
    """Plant `mutant` and run claims, the likely ones first, until one is false.

    Experiments of chaos that name the mutant come before all claims.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"llmhive-{mutant.id}-") as folder:
        overlay = Path(folder) / "overlay"
        try:
            plant(mutant, package, overlay)
        except MutantError as exc:
            return Detection(mutant.id, mutant.group, BROKEN, (), 0.0, str(exc))
        said = Claims("unknown", {}, "")
        # What caught it last time comes first.
        named = experiments.naming(mutant.id)
        for name in sorted(named, key=lambda name: experiments.PREFIX + name not in caught_by):
            chaos = Path(folder) / name
            said = Claims(*experiments.run_experiments(chaos, [name], overlay=overlay))
            if said.false:
                break
        if not said.false:
            reports, first = Path(folder) / "reports", likely(mutant, caught_by)
            said = run_claims(reports, overlay=overlay, until_false=True, first=first)
    seconds = round(time.monotonic() - started, 1)
    if said.false:
        return Detection(mutant.id, mutant.group, CAUGHT, said.false, seconds)
    tail = " | ".join(said.output.strip().splitlines()[-3:])
    return Detection(mutant.id, mutant.group, MISSED, (), seconds, tail)
