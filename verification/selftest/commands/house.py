"""A house of its own for `nox -s verify`: the suite's harness as it is, with other claims.

Nothing is built: its environments are this one by another name, its service is none, and its
notes say that both are up to date.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from verification.harness import artefact
from verification.harness.stack.programs import ROOT
from verification.selftest.plugin.inner_run import HEAD, without_this_run

FILES: Final = (
    "noxfile.py",
    "conftest.py",
    "pyproject.toml",
    "readiness.toml",
    "requirements/verify.txt",
    "requirements/service.txt",
)
PARTS: Final = ("checkers", "contract", "harness", "simulators")
# Who runs this nox: `nox -s selftest` says so, and the environment for development has one, too.
NOX_PYTHON: Final = "LLMHIVE_NOX_PYTHON"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a session ended."""

    code: int
    output: str
    reports: Path

    @property
    def readiness(self) -> dict[str, Any]:
        """readiness.json."""
        found = json.loads((self.reports / "readiness.json").read_text())
        assert isinstance(found, dict)
        return found


def nox_python() -> str | None:
    """A Python that has nox, None where there is none."""
    beside = [ROOT / ".venv" / "bin" / "python", ROOT / ".nox" / "dev" / "bin" / "python"]
    named = os.environ.get(NOX_PYTHON)
    return named or next((str(path) for path in beside if path.exists()), None)


def build(house: Path, claims: str) -> Path:
    """Make the house, with one file of claims."""
    # What is compiled stays so, for copies keep times; what is just being compiled may vanish.
    skipped = shutil.ignore_patterns("*.pyc.*")
    for part in PARTS:
        shutil.copytree(ROOT / "verification" / part, house / "verification" / part, ignore=skipped)
    for file in ("__init__.py", "history.py", "verdict.py"):
        shutil.copy(ROOT / "verification" / file, house / "verification")
    (house / "requirements").mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, house / name)
    (house / "llmhive").mkdir()
    (house / "llmhive" / "__init__.py").touch()
    (house / "verification" / "suites").mkdir()
    (house / "verification" / "suites" / "test_inner.py").write_text(HEAD + claims)
    (house / ".cache").symlink_to(ROOT / ".cache")
    _environment(house, "suite", "verify", sys.executable)
    _environment(house, "service", "service", sys.executable)
    _note(house, "service", "service")
    return house


def second_service(house: Path, python: Path, modules: dict[str, str]) -> None:
    """Give the house a service that can be measured: modules of `llmhive.app` by name."""
    (house / "llmhive" / "app").mkdir()
    for name, text in modules.items():
        (house / "llmhive" / "app" / name).write_text(text)
    shutil.copy(ROOT / "requirements" / "tests.txt", house / "requirements")
    _environment(house, "covered", "tests", str(python))
    _note(house, "covered", "tests")


def _note(house: Path, name: str, pins: str) -> None:
    """Say that the wheel of today's sources is installed already."""
    noted = {"digest": artefact.service_sources(house, pins), "wheel": "none", "sha256": ""}
    (house / ".nox" / f"{name}.json").write_text(json.dumps(noted))


def _environment(house: Path, name: str, pins: str, runs: str) -> None:
    folder = house / ".nox" / name
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{runs}" "$@"\n')
    python.chmod(0o755)
    stamp = artefact.digest(house / "requirements" / f"{pins}.txt", root=house)
    (folder / "pins").write_text(stamp)


def verify(house: Path, *options: str, env: dict[str, str] | None = None) -> Ran:
    """`nox -s verify -- …` in the house, on one process unless the options say otherwise."""
    python = nox_python()
    assert python
    one = [] if any(option.startswith("-n") for option in options) else ["-n", "0"]
    done = subprocess.run(
        [python, "-m", "nox", "-s", "verify", "--", "--stack=processes", *one, *options],
        cwd=house,
        env={**without_this_run(), **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout + done.stderr, house / "reports" / "verify")
