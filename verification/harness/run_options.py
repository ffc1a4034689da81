"""The options of a verification, and what was settled for the whole run.

Read once in each process; what the controller settles travels to xdist's workers as JSON.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from verification.harness.stack.choice import AUTO, CONTAINERS, PROCESSES, REMOTE
from verification.harness.stack.programs import ROOT

SUITES: Final = ROOT / "verification" / "suites"
REPORTS: Final = ROOT / "reports" / "verify"
WORKER_INPUT: Final = "llmhive_run"
# The fields of a run that are paths, which travel as text.
PATHS: Final = ("reports", "evidence", "shared")


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of pytest, as the suite sees it."""

    is_verification: bool
    is_controller: bool
    """False in a worker of pytest-xdist."""
    reports: Path
    evidence: Path
    stack: str = AUTO
    target: str | None = None
    full: bool = False
    gate: bool = False
    keep: bool = False
    until_false: bool = False
    first: tuple[str, ...] = ()
    """With `until_false`: words of the claims that are likely to be false, likeliest first."""
    claims: tuple[str, ...] = ()
    narrowed: str = ""
    """How the run was narrowed to some claims; empty when all were collected."""
    workers: int = 1
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    seconds_known: dict[str, float] = field(default_factory=dict)
    """Claim -> seconds that it took last time."""
    started_s: float = field(default_factory=time.time)
    shared: Path | None = None
    """A folder of this run for what one worker makes for all; none against a target elsewhere."""

    def for_workers(self) -> str:
        """What workers must share with the controller, as JSON."""
        facts = asdict(self)
        paths = {name: str(facts[name]) for name in PATHS if facts[name] is not None}
        return json.dumps({**facts, **paths, "is_controller": False})


RUN: Final = pytest.StashKey[Run]()


def add_options(parser: pytest.Parser) -> None:
    """The options of a verification."""
    group = parser.getgroup("verification", "verification of the service")
    add = group.addoption
    add("--stack", default=AUTO, choices=(AUTO, CONTAINERS, PROCESSES), help="what to start")
    add("--target", metavar="FILE", help="judge what this target file names, start nothing")
    add("--full", action="store_true", help="also the claims at the default scale (nightly)")
    add("--gate", action="store_true", help="ready only if every blocking line is met")
    add("--keep", action="store_true", help="leave the last stack up until Enter is pressed")
    add("--claim", action="append", default=[], metavar="ID", help="only this claim (repeatable)")
    add("--until-false", action="store_true", help="stop at the first false claim")
    add("--first", action="append", default=[], metavar="WORD", help="--until-false: begin here")
    add("--reports", metavar="DIR", help="where the reports go (default: reports/verify)")
    add("--evidence", metavar="DIR", help="where evidence goes (default: evidence/ beside them)")


def read_options(config: pytest.Config) -> Run:
    """The run that these options describe; in a worker, the controller's."""
    worker_input: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker_input is not None and WORKER_INPUT in worker_input:
        facts = json.loads(worker_input[WORKER_INPUT])
        paths = {name: Path(facts[name]) for name in PATHS if facts[name] is not None}
        words = {name: tuple(facts[name]) for name in ("claims", "first")}
        return Run(**{**facts, **paths, **words})
    option = config.getoption
    here = config.invocation_params.dir
    reports = here / option("--reports") if option("--reports") else REPORTS
    evidence = here / option("--evidence") if option("--evidence") else reports / "evidence"
    return Run(
        is_verification=_is_verification(config),
        is_controller=worker_input is None,
        reports=reports,
        evidence=evidence,
        stack=REMOTE if option("--target") else option("--stack"),
        target=option("--target"),
        full=option("--full"),
        gate=option("--gate"),
        keep=option("--keep"),
        until_false=option("--until-false"),
        first=tuple(option("--first")),
        claims=tuple(option("--claim")),
        narrowed=_narrowed(config),
        workers=max(1, int(option("numprocesses", None) or 1)),
        seconds_known=_seconds_known(reports),
    )


def _is_verification(config: pytest.Config) -> bool:
    """Whether the run was asked for a verdict, rather than for the suite's own tests."""
    if config.getoption("--reports") or config.getoption("--claim"):
        return True
    return any(
        path.is_relative_to(SUITES) or (SUITES.is_relative_to(path) and path != ROOT)
        for path in _paths(config)
    )


def _narrowed(config: pytest.Config) -> str:
    chosen = [f"--claim {claim}" for claim in config.getoption("--claim")]
    chosen += [f"-k {config.option.keyword}"] if config.option.keyword else []
    chosen += [f"-m {config.option.markexpr}"] if config.option.markexpr else []
    paths = _paths(config)
    if not any(SUITES.is_relative_to(path) for path in paths):
        chosen += [path.name for path in paths]
    return " ".join(chosen)


def _paths(config: pytest.Config) -> list[Path]:
    here = config.invocation_params.dir
    return [(here / argument.partition("::")[0]).resolve() for argument in config.args]


def _seconds_known(reports: Path) -> dict[str, float]:
    try:
        rows = json.loads((reports / "readiness.json").read_text("utf-8"))["claims"]
        return {row["id"]: float(row["seconds"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
