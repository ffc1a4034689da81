"""Where the service's own environment is, what a process in it gets to see, and its commands."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

from verification.harness.processes import Finished, keeper
from verification.harness.stack.model import StackError
from verification.harness.stack.programs import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# What a program needs to run at all; everything else would be an accident of this machine.
PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
# `llmhive keys create` is a start of Python and one transaction.
COMMAND_WITHIN_S: Final = 30.0


class NoServiceEnvironmentError(StackError):
    """There is no environment that holds the service; nothing can be judged."""


def service_python() -> str:
    """The Python that runs the service: LLMHIVE_SERVICE_PYTHON, else what `nox -s verify` built.

    Raises: NoServiceEnvironmentError with what to run.
    """
    if chosen := os.environ.get("LLMHIVE_SERVICE_PYTHON"):
        return chosen
    try:
        return str(json.loads((ROOT / ".nox" / "service.json").read_text())["python"])
    except (OSError, ValueError, KeyError) as error:
        raise NoServiceEnvironmentError(
            "no service environment: run `nox -s verify` once, or set LLMHIVE_SERVICE_PYTHON"
        ) from error


def clean_environment(folder: Path) -> dict[str, str]:
    """What every child of the service's kind gets, before its settings."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    overlay = os.environ.get("LLMHIVE_OVERLAY")
    found = {"PYTHONPATH": overlay} if overlay else {}
    return {**passed, **coverage, **found, "HOME": str(folder), "TMPDIR": str(folder)}


def run_command(
    folder: Path,
    data: Path,
    settings: Mapping[str, str],
    arguments: Sequence[str],
    *,
    timeout_s: float = COMMAND_WITHIN_S,
) -> Finished:
    """Run `llmhive <arguments>` with these settings on a data folder; its output goes to `folder`.

    Raises: NoServiceEnvironmentError, and ChildError when Python cannot be started.
    """
    return keeper().run(
        [service_python(), "-P", "-m", "llmhive", *arguments],
        name="command",
        folder=folder,
        cwd=data,
        env={**clean_environment(folder), **settings},
        timeout_s=timeout_s,
    )
