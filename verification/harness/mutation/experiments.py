"""Experiments of chaos as detectors: a mutant that an experiment names is asked of it first.

In a process of its own, since the suite does not know chaos; an experiment's id is
`chaos.<name>` wherever claims have theirs. Imports nothing of the suite but the controller's name.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from verification.harness.processes import CONTROLLER

ROOT: Final = Path(__file__).parents[3]
PREFIX: Final = "chaos."
VERDICTS: Final = {"go": "pass", "no go": "fail"}
# Every experiment takes seconds; all of them together less than this, or one is stuck.
RUN_S_MAX: Final = 1200
LIST_S_MAX: Final = 60


def naming(mutant_id: str) -> tuple[str, ...]:
    """The experiments that name this mutant as theirs."""
    done = _chaos(["--list", "--mutant", mutant_id], within_s=LIST_S_MAX)
    return (
        tuple(line.split()[0] for line in done.stdout.splitlines()) if not done.returncode else ()
    )


def run_experiments(
    reports: Path, names: Sequence[str], *, overlay: Path | None = None
) -> tuple[str, dict[str, tuple[str, ...]], str]:
    """Perform the named experiments: the run's verdict, their ids by verdict, what was said."""
    results = reports / "results.json"
    results.unlink(missing_ok=True)
    only = [word for name in names for word in ("--only", name.removeprefix(PREFIX))]
    try:
        done = _chaos([*only, "--reports", str(reports)], within_s=RUN_S_MAX, overlay=overlay)
    except subprocess.TimeoutExpired as exc:
        return "unknown", {}, f"the experiments ran longer than {RUN_S_MAX} s: {exc}"
    output = done.stdout + done.stderr
    if not results.exists():
        return "unknown", {}, output
    found = json.loads(results.read_text("utf-8"))
    rows: dict[str, list[str]] = {}
    for row in found["experiments"]:
        rows.setdefault(row["word"], []).append(PREFIX + row["name"])
    by_verdict = {word: tuple(ids) for word, ids in rows.items()}
    return VERDICTS.get(found["answer"], "unknown"), by_verdict, output


def _chaos(
    arguments: list[str], *, within_s: float, overlay: Path | None = None
) -> subprocess.CompletedProcess[str]:
    # The run ends with this process, however this one ends.
    environment = {**os.environ, CONTROLLER: str(os.getpid())}
    if overlay:
        environment["LLMHIVE_OVERLAY"] = str(overlay)
    return subprocess.run(
        [sys.executable, "-m", "chaos", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=within_s,
    )
