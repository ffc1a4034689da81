"""The workflows of docs/ci.md: checked by actionlint, and their steps run as shell.

`python -m verification.selftest.workflow [--run [NAME …]]`, through `nox -s workflow`. A step is
run as GitHub runs it (`bash -e -o pipefail`), in the root of the repository, once per command;
what an action would do (checkout, cache, upload) is left out. Exit codes: 0 fine, 1 a step or
the lint failed, 3 the document cannot be read or actionlint cannot be had.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from verification.harness.stack import programs
from verification.harness.stack.model import StackError

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENT: Final = ROOT / "docs" / "ci.md"
BLOCK: Final = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ACTIONLINT: Final = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
SHELL: Final = ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c")
# The project's own gate is not met while lines of the checklist have neither claim nor
# attestation; its step has worked when it says so.
GATE: Final = "--gate"
NOT_MET: Final = 2
FAILED: Final = 1
COULD_NOT: Final = 3


class WorkflowError(Exception):
    """The document holds no workflow that can be read."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step that is shell: where it stands, and what it runs."""

    name: str
    command: str

    @property
    def codes(self) -> frozenset[int]:
        """The exit codes with which it has worked."""
        return frozenset({0, NOT_MET}) if GATE in self.command.split() else frozenset({0})


def workflows(text: str) -> list[str]:
    """Every workflow of a document in Markdown, as it stands there.

    Raises: WorkflowError when there is none.
    """
    found: list[str] = BLOCK.findall(text)
    if not found:
        raise WorkflowError("expected blocks of ```yaml with a workflow, got none")
    return found


def named(found: Sequence[str], names: Sequence[str]) -> list[str]:
    """The workflows of those names, all of them when none is named.

    Raises: WorkflowError for a name that none has.
    """
    by_name = {str(yaml.safe_load(text).get("name")): text for text in found}
    if unknown := sorted(set(names) - set(by_name)):
        raise WorkflowError(f"expected names of {sorted(by_name)}, got {unknown}")
    return [by_name[name] for name in names] if names else list(found)


def steps(workflow: str) -> Iterator[Step]:
    """The steps of a workflow that are shell, in their order.

    Raises: WorkflowError when it is no workflow.
    """
    try:
        jobs: dict[str, Any] = yaml.safe_load(workflow)["jobs"]
        shell = [one for job in jobs.values() for one in job["steps"] if "run" in one]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise WorkflowError(f"expected jobs with steps: {error}") from error
    for step in shell:
        yield Step(str(step.get("name", step["run"])), str(step["run"]))


def lint(found: Sequence[str], actionlint: str) -> int:
    """Check workflows as files of a repository of their own; gives actionlint's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.yml" for number, _ in enumerate(found, 1)]
        for file, text in zip(files, found, strict=True):
            file.write_text(text, "utf-8")
        return subprocess.run([actionlint, *map(str, files)], check=False, cwd=folder).returncode


def program() -> str:
    """actionlint: from PATH, else built once into `.cache/`.

    Raises: WorkflowError when it can be had by neither.
    """
    if found := shutil.which("actionlint"):
        return found
    folder = ROOT / ".cache" / "programs" / "actionlint"
    built = folder / "actionlint"
    if not built.exists():
        try:
            subprocess.run(
                [str(programs.go()), "install", ACTIONLINT],
                env={**os.environ, "GOBIN": str(folder), "GOFLAGS": "-modcacherw"},
                check=True,
                capture_output=True,
            )
        except (OSError, StackError, subprocess.CalledProcessError) as error:
            raise WorkflowError(
                f"no actionlint on PATH, and it cannot be built: {error}"
            ) from error
    return str(built)


def run(step: Step, summary: Path) -> bool:
    """Run a step as GitHub would; says whether it worked."""
    print(f"== {step.name}: {step.command}", flush=True)  # noqa: T201  progress
    told = {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    done = subprocess.run([*SHELL, step.command], cwd=ROOT, env={**os.environ, **told}, check=False)
    if done.returncode not in step.codes:
        print(f"step {step.name!r} ended with {done.returncode}", file=sys.stderr)  # noqa: T201  answer
        return False
    return True


def run_all(found: Sequence[str]) -> int:
    """Run every step once; the verdict must stand in the summary of the job."""
    every = dict.fromkeys(step for workflow in found for step in steps(workflow))
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.md"
        if not all(run(step, summary) for step in every):
            return FAILED
        if "claims" not in (summary.read_text("utf-8") if summary.exists() else ""):
            print("no verdict was written to the summary of the job", file=sys.stderr)  # noqa: T201  answer
            return FAILED
    return 0


def main(arguments: Sequence[str]) -> int:
    """`[--run [NAME …]]`: the steps of all workflows, or of those that are named."""
    if arguments and arguments[0] != "--run":
        print(f"expected nothing or --run [NAME …], got {arguments}", file=sys.stderr)  # noqa: T201  answer
        return COULD_NOT
    try:
        found = workflows(DOCUMENT.read_text("utf-8"))
        chosen = named(found, arguments[1:])
        if lint(found, program()):
            return FAILED
        return run_all(chosen) if arguments else 0
    except (OSError, WorkflowError) as error:
        print(f"could not run: {error}", file=sys.stderr)  # noqa: T201  answer
        return COULD_NOT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
