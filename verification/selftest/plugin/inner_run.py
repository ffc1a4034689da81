"""Runs pytest with the suite's plugin over claims that are written to a file."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
# Plugins that cost time or change the process that an inner run shares with its test.
OTHERS = ("cacheprovider", "hypothesispytest")
HEAD = """
import pytest
from verification.contract import promises as p
from verification.harness.claims import claim
from verification.verdict import UnknownVerdict, Verdict, unknown
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """How the inner run ended and what it left."""

    code: int
    output: str
    reports: Path

    @property
    def readiness(self) -> dict[str, Any]:
        """readiness.json."""
        found = json.loads((self.reports / "readiness.json").read_text())
        assert isinstance(found, dict)
        return found

    @property
    def verdicts(self) -> dict[str, str]:
        """Claim -> verdict."""
        return {row["id"]: row["verdict"] for row in self.readiness["claims"]}

    def item(self, name: str) -> tuple[str, str]:
        """Verdict and reason of a line of the checklist."""
        row = next(row for row in self.readiness["items"] if row["id"] == name)
        return row["verdict"], row["why"]


def run(
    folder: Path,
    claims: str,
    *options: str,
    env: dict[str, str] | None = None,
    apart: bool = False,
) -> Ran:
    """Run the claims of a text; `--reports` is set.

    Takes: `apart`, to run them in a process of their own, which costs seconds: for what ends
    or forks a process.
    """
    return _ran(folder, arguments_for(folder, claims, *options), env=env, apart=apart)


def run_the_suites(folder: Path, *options: str) -> Ran:
    """Run the suite's own claims."""
    return _ran(folder, [str(ROOT / "verification" / "suites"), *_always(folder), *options])


def _ran(
    folder: Path, arguments: list[str], *, env: dict[str, str] | None = None, apart: bool = False
) -> Ran:
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(without_this_run()):
            patch.delenv(name)
        # Claims by hand ask no service; whose Python it would be must be known all the same.
        for name, value in {"LLMHIVE_SERVICE_PYTHON": sys.executable, **(env or {})}.items():
            patch.setenv(name, value)
        code, output = (_apart if apart else _here)(arguments)
    return Ran(code, output, folder / "reports")


def arguments_for(folder: Path, claims: str, *options: str) -> list[str]:
    """Write the claims into the folder, and give pytest's arguments for a verification by them."""
    tests = folder / "claims"
    tests.mkdir(exist_ok=True)
    (tests / "test_inner.py").write_text(HEAD + claims)
    return [str(tests), *_always(folder), *options]


def _always(folder: Path) -> list[str]:
    where = ["-c", str(ROOT / "pyproject.toml"), f"--rootdir={ROOT}", f"--confcutdir={ROOT}"]
    ours = ["-q", f"--reports={folder / 'reports'}", "--stack=processes"]
    return [*where, *ours, *(part for name in OTHERS for part in ("-p", f"no:{name}"))]


def without_this_run() -> dict[str, str]:
    """The environment without what tells a process that it is part of a run."""
    ours = ("PYTEST_", "GITHUB_", "LLMHIVE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _here(arguments: list[str]) -> tuple[int, str]:
    # What nobody could raise is collected by the outer run, whose heap is large.
    plugins = (
        "verification.harness.fixtures",
        "verification.harness.plugin",
        "no:unraisableexception",
    )
    wanted = [part for name in plugins for part in ("-p", name)]
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = pytest.main([*wanted, *arguments])
    return int(code), said.getvalue()


def command_apart(arguments: list[str]) -> list[str]:
    """The command that runs pytest with the suite's plugin, from the root."""
    return [sys.executable, "-m", "pytest", "-p", "conftest", *arguments]


def _apart(arguments: list[str]) -> tuple[int, str]:
    command = command_apart(arguments)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr
