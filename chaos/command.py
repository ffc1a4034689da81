"""The options of chaos, and what each does: list, plan, perform, judge again.

Speaks to people on stdout; what could not run is one line on stderr and 3.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chaos import kept, plan, stacks
from chaos.campaign import Campaign
from chaos.catalogue import UnknownExperimentError, catalogue, select
from chaos.conclusion import RESULTS, Conclusion
from chaos.judgement import judge
from chaos.kept import KeptError, Result
from chaos.report import in_ci, page
from verification.harness import artefact, github
from verification.harness.mutation.judge import installed_package
from verification.harness.mutation.mutant import MutantError, plant, read_mutant
from verification.harness.stack import choice
from verification.harness.stack.model import StackError
from verification.harness.stack.programs import ROOT
from verification.harness.target_file import TargetFileError
from verification.harness.target_file import read as read_target
from verification.harness.undo import UndoError

if TYPE_CHECKING:
    from chaos.experiment import Experiment

REPORTS: Final = ROOT / "reports" / "chaos"
MUTANTS: Final = ROOT / "verification" / "mutants"
COULD_NOT_RUN: Final = 3
SEED_MAX: Final = 2**32

TROUBLES: Final = (
    UnknownExperimentError,
    MutantError,
    KeptError,
    StackError,
    TargetFileError,
    UndoError,
)
"""What stands in the way of a run, each with one clear line."""


def main(arguments: Sequence[str]) -> int:
    """Do what the options say, and give the exit code."""
    options = parser().parse_args(arguments)
    try:
        chosen = select(options.only, options.mutant)
        if options.list:
            return _say(plan.listed(chosen))
        if options.plan:
            return _say(_planned(options, chosen))
        if options.recheck:
            return _finish(_rechecked(options), options.reports)
        return _finish(_performed(options, chosen), options.reports)
    except TROUBLES as error:
        print(f"could not run: {error}", file=sys.stderr)  # noqa: T201  the command's answer
        return COULD_NOT_RUN


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # it does not return
        """Usage is 3 here: nothing was run."""
        print(f"could not run: {message}", file=sys.stderr)  # noqa: T201  the command's answer
        sys.exit(COULD_NOT_RUN)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = _Parser(prog="nox -s chaos --", description="Break things on purpose, say what it costs")
    add = made.add_argument
    add("--list", action="store_true", help="the experiments, one line each")
    add("--plan", action="store_true", help="what would be touched, how long, how it is undone")
    add("--only", action="append", default=[], metavar="NAME", help="this one (repeatable)")
    add("--recheck", type=Path, metavar="DIR", help="judge kept histories with today's checkers")
    add("--target", type=Path, metavar="FILE", help="what this target file names")
    add("--stack", default=choice.AUTO, choices=(choice.AUTO, choice.CONTAINERS, choice.PROCESSES))
    add("--seed", type=int, help="of every random choice (printed by each run)")
    add("--mutant", metavar="ID", help="plant this known bug; its experiments have to go red")
    add("--reports", type=Path, default=REPORTS, metavar="DIR")
    return made


def _say(text: str) -> int:
    print(text)  # noqa: T201  the command's answer
    return 0


def _planned(options: argparse.Namespace, chosen: Mapping[str, Experiment]) -> str:
    if not options.target:
        return plan.planned(chosen)
    target = read_target(options.target)
    told = target.budget.told(stacks.estimate(target, chosen))
    lacking = {name: stacks.lacks(target, one) for name, one in chosen.items()}
    return plan.planned(chosen, f"{target.base_url}, which would use {told}", lacking)


def _finish(conclusion: Conclusion, reports: Path) -> int:
    conclusion.write(reports)
    page.write(conclusion, reports)
    github.tell(in_ci.summary(conclusion), in_ci.remarks(conclusion))
    print(f"report: {reports / page.FILE}")  # noqa: T201  the command's answer
    print(conclusion.line, flush=True)  # noqa: T201  the line at the end
    return conclusion.exit_code


def _performed(options: argparse.Namespace, chosen: Mapping[str, Experiment]) -> Conclusion:
    seed = secrets.randbelow(SEED_MAX) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="llmhive-mutant-") as overlay:
        if options.mutant:
            _plant(options.mutant, Path(overlay))
        campaign = Campaign(
            reports=options.reports,
            seed=seed,
            make_lender=lambda run_id: (
                stacks.elsewhere(options.target, chosen)
                if options.target
                else stacks.local(options.stack, run_id)
            ),
            on_result=_tell,
        )
        began = datetime.now(UTC)
        print(f"seed {seed}; {len(chosen)} experiments", flush=True)  # noqa: T201  a run's header
        campaign.run(chosen)
        return Conclusion(
            results=campaign.results,
            artefact=judged_artefact(options.target),
            stack=campaign.stack,
            seed=seed,
            began=began,
            ended=datetime.now(UTC),
            known=len(catalogue()),
            undone_first=[str(one) for one in campaign.undone_first],
        )


def judged_artefact(target: Path | None) -> dict[str, object]:
    """What is judged: the wheel that was built, or what a target file names."""
    if target is None:
        return artefact.describe()
    named = read_target(target)
    return {"kind": f"{named.instance} ({named.environment}) at {named.base_url}"}


def _tell(result: Result) -> None:
    owner = f" [{result.owner}]" if result.owner else ""
    why = f": {result.why}" if result.owner or result.word == "unverified" else ""
    line = f"{result.word:10} {result.seconds:5.1f} s  {result.name}{owner}{why}"
    print(line, flush=True)  # noqa: T201  progress


def _plant(mutant_id: str, overlay: Path) -> None:
    """Have every service of this process run from a copy with a known bug."""
    files = list(MUTANTS.rglob(f"{mutant_id}.toml"))
    if len(files) != 1:
        raise MutantError(f"--mutant: expected one {mutant_id}.toml in {MUTANTS}, got {len(files)}")
    plant(read_mutant(files[0]), installed_package(), overlay)
    os.environ["LLMHIVE_OVERLAY"] = str(overlay)


def _rechecked(options: argparse.Namespace) -> Conclusion:
    """Judge what was kept, with today's checkers."""
    known = catalogue()
    began, results = datetime.now(UTC), []
    for folder in kept.folders(options.recheck):
        name, history = kept.read(folder)
        if name not in known:
            raise KeptError(f"{folder}: there is no experiment {name!r} any more")
        judged = judge(known[name], history)
        results.append(kept.result_of(name, known[name], judged, seconds=0.0, folder=folder))
        _tell(results[-1])
    before = _facts_before(options.recheck)
    return Conclusion(
        results=results,
        artefact=before.get("artefact", {"kind": "unknown"}),
        stack=before.get("stack", {}),
        seed=int(before.get("seed", 0)),
        began=began,
        ended=datetime.now(UTC),
        known=len(known),
        rechecked=str(options.recheck),
    )


def _facts_before(where: Path) -> dict[str, Any]:
    for folder in (where, *where.parents[:2]):
        if (folder / RESULTS).exists():
            found = json.loads((folder / RESULTS).read_text("utf-8"))
            return found if isinstance(found, dict) else {}
    return {}
