"""Starts Locust on a plan and waits for its end. Whatever happens here, it does not outlive us.

Locust runs in an environment of its own (`.nox/load`), as a child of the keeper: killing the
runner ends it. The plan holds keys, so it lies in a folder of its own that goes with the run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from load.plan import LEAD_S, VARIABLE, Plan
from load.subject import SubjectError
from verification.harness.processes import Child, keeper
from verification.harness.stack.programs import ROOT
from verification.harness.waiting import now_s

PYTHON_VARIABLE: Final = "LLMHIVE_LOAD_PYTHON"
LOCUSTFILE: Final = ROOT / "load" / "locustfile.py"
# To start Locust and its workers, to end them, to write the last lines, on a busy machine.
AROUND_S: Final = 60.0
# A person copies the plan to other hosts and starts workers there.
WORKERS_WITHIN_S: Final = 900.0
PLAN_FILE: Final = "plan.json"
PASSED_ON: Final = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """How many generators, and where: children of one Locust here, or workers elsewhere."""

    here: int = 1
    elsewhere: int = 0
    bind_host: str = "127.0.0.1"
    bind_port: int = 5557

    def options(self) -> list[str]:
        """Locust's own options for that."""
        if self.elsewhere:
            return [
                "--master",
                "--expect-workers",
                str(self.elsewhere),
                "--master-bind-host",
                self.bind_host,
                "--master-bind-port",
                str(self.bind_port),
                "--expect-workers-max-wait",
                f"{WORKERS_WITHIN_S:.0f}",
            ]
        return ["--processes", str(self.here)] if self.here > 1 else []

    def invitation(self, private: Path) -> str | None:
        """How to start the workers on other hosts; None when there are to be none."""
        if not self.elsewhere:
            return None
        return (
            f"waiting for {self.elsewhere} workers; copy {private / PLAN_FILE} (it holds keys) to "
            f"each host and run there, in a checkout: {VARIABLE}=plan.json locust -f "
            f"load/locustfile.py --worker --master-host HOST --master-port {self.bind_port}"
        )


def locust_python() -> str:
    """The Python of Locust's environment: LLMHIVE_LOAD_PYTHON, else what `nox -s load` built.

    Raises: SubjectError with what to run.
    """
    chosen = os.environ.get(PYTHON_VARIABLE) or str(ROOT / ".nox" / "load" / "bin" / "python")
    if not Path(chosen).exists():
        raise SubjectError(f"no Locust at {chosen}: run `nox -s load` once")
    return chosen


def start(
    plan: Plan, base_url: str, processes: Processes, *, private: Path, reports: Path
) -> Child:
    """Start Locust on a plan; its own tables go to `reports`/locust."""
    own = reports / "locust"
    own.mkdir(parents=True, exist_ok=True)
    plan_file = private / PLAN_FILE
    plan.write(plan_file)
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return keeper().start(
        [
            locust_python(),
            "-m",
            "locust",
            "-f",
            LOCUSTFILE,
            "--headless",
            "--only-summary",
            "--host",
            base_url,
            "--csv",
            own / "locust",
            "--json-file",
            own / "locust",
            "--exit-code-on-error",
            "0",
            *processes.options(),
        ],
        name="locust",
        folder=own,
        cwd=private,
        env={**passed, VARIABLE: str(plan_file), "PYTHONDONTWRITEBYTECODE": "1"},
    )


def wait(
    child: Child, plan: Plan, seen: Callable[[float], str], *, more_s: float = 0.0
) -> str | None:
    """Wait until Locust has ended; `seen` is told the seconds so far and says why to stop.

    Takes: `more_s`, how much longer than usual its start may take.
    Gives: None, or why it had to be ended from outside. Interrupted, it lets what is on its
    way end, and says so.
    """
    began_s = now_s()
    deadline_s = began_s + LEAD_S + plan.over_s + AROUND_S + more_s
    while True:
        try:
            if child.wait(within_s=0.5) is not None:
                return None if not child.exit_code else f"Locust ended with {child.exit_code}"
            reason = seen(now_s() - began_s)
        except KeyboardInterrupt:
            reason = "interrupted"
        if reason and plan.stop_file:
            Path(plan.stop_file).write_text(reason, "utf-8")
        if now_s() > deadline_s:
            child.kill()
            return "Locust did not end in time and was killed"
