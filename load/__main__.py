"""The command behind `nox -s load`: one run by a profile, or a kept one judged again.

Ends 0 when every target held, 1 when one did not, 2 when nobody can say, 3 when it could not
run: an unknown profile, a bad target file, another machine's baseline.
"""

from __future__ import annotations

import argparse
import math
import sys
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn

from load import (
    baseline,
    comparison,
    gate,
    in_ci,
    kept,
    machine,
    profile_file,
    report,
    results,
    runner,
    samples,
)
from load.kept import Kept, KeptError
from load.locust_run import Processes
from load.own_stack import own_stack
from load.profile_file import ProfileError
from load.results import Results
from load.samples import Recording, SampleError
from load.staging import NotOursError, planned, staging
from load.subject import Subject, SubjectError
from verification.contract.load import KINDS as KINDS_SENT
from verification.contract.load import LoadTargets, load_targets
from verification.harness import github
from verification.harness.processes import ChildError
from verification.harness.stack.choice import AUTO, KINDS
from verification.harness.stack.model import StackError
from verification.harness.stack.programs import ROOT
from verification.harness.target_file import TargetFileError

COULD_NOT: Final = 3
# Beyond it somebody means another profile, or has mistyped.
FACTOR_MAX: Final = 1000
REPORTS: Final = ROOT / "reports" / "load"
REFUSALS: Final = (
    ProfileError,
    KeptError,
    SampleError,
    baseline.BaselineError,
    SubjectError,
    StackError,
    ChildError,
    TargetFileError,
)


class OneLineParser(argparse.ArgumentParser):
    """Says what was wrong in one line, and ends with 3."""

    def error(self, message: str) -> NoReturn:
        """Leave."""
        self.exit(COULD_NOT, f"could not run: {message}\n")


def main(arguments: list[str]) -> int:
    """Run or judge again, and say the verdict."""
    options = _parser().parse_args(arguments)
    if options.list:
        for name in profile_file.names():
            say(f"{name:10} {profile_file.read(name).text}")
        return 0
    try:
        if options.plan:
            return _plan(options)
        if options.compare:
            return _compare(options.reports)
        found = _recheck(options) if options.recheck else _run(options)
    except REFUSALS as error:
        print(f"could not run: {error}", file=sys.stderr)  # noqa: T201  the command's answer
        return COULD_NOT
    for one in found.judgement.judged:
        why = (one.unverified and f"for want of {one.unverified}") or one.verdict.first
        say(f"{results.word(one):10} {one.target.id:18} {why}")
    for other in found.compared:
        say(f"{other.verdict.word:10} {other.verdict.claim}: {other.verdict.first}")
    github.tell(in_ci.summary(found), in_ci.remarks(found))
    say(found.headline)
    say(f"report: {options.reports / report.FILE}")
    return found.verdict.exit_code


def _plan(options: argparse.Namespace) -> int:
    if not options.target:
        raise SubjectError("--plan expects --target FILE beside it")
    is_held, lines = planned(options.target, profile_file.read(options.profile))
    for line in lines:
        say(line)
    return 0 if is_held else 1


def _compare(reports: Path) -> int:
    rows = comparison.compare(load_targets())
    comparison.write(rows, reports)
    say(comparison.table(rows))
    return 0


def say(text: str) -> None:
    """One line of the command's answer."""
    print(text, flush=True)  # noqa: T201  the command's answer


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="nox -s load --", description=__doc__)
    parser.add_argument("--profile", default="ci", help="a name, see --list, or a .toml file")
    parser.add_argument("--kinds", metavar="K,K", help=f"only these of {', '.join(KINDS_SENT)}")
    parser.add_argument("--times", type=_factor, default=1.0, metavar="X", help="of the rates")
    parser.add_argument("--list", action="store_true", help="list the profiles and leave")
    parser.add_argument("--target", type=Path, metavar="FILE", help="a service elsewhere")
    parser.add_argument(
        "--plan", action="store_true", help="what --target FILE would be asked, and leave"
    )
    parser.add_argument("--stack", choices=KINDS[:3], default=AUTO, help="of a stack of our own")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="an earlier results.json")
    parser.add_argument("--recheck", type=Path, metavar="DIR", help="judge a kept run again")
    parser.add_argument(
        "--compare", action="store_true", help="our P99 beside Locust's own, on a known stall"
    )
    parser.add_argument("--processes", type=_count, metavar="N", help="generators on this machine")
    parser.add_argument(
        "--expect-workers", type=_count, default=0, metavar="N", help="generators on other hosts"
    )
    parser.add_argument("--bind", default="127.0.0.1:5557", metavar="HOST:PORT")
    parser.add_argument("--reports", type=Path, default=REPORTS, metavar="DIR")
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1000:  # noqa: PLR2004  hosts
        raise argparse.ArgumentTypeError(f"expected 1 to 1000, got {text!r}")
    return int(text)


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0 < factor <= FACTOR_MAX:
        raise argparse.ArgumentTypeError(
            f"expected more than 0, at most {FACTOR_MAX}, got {text!r}"
        )
    return factor


def _run(options: argparse.Namespace) -> Results:
    profile, targets = profile_file.read(options.profile), load_targets()
    if options.kinds:
        profile = profile.only(options.kinds.split(","))
    profile = profile.scaled(options.times)
    earlier = _earlier(options.baseline)
    options.reports.mkdir(parents=True, exist_ok=True)
    order = runner.Order(
        profile=profile,
        targets=targets,
        reports=options.reports,
        processes=_processes(options, profile.generators),
        earlier=earlier,
    )
    subject: AbstractContextManager[Subject] = (
        staging(options.target, profile) if options.target else own_stack(profile, options.stack)
    )
    try:
        with subject as aimed_at:
            found = runner.run(order, aimed_at, say)
    except NotOursError as error:
        found, earlier = runner.not_run(order, str(error), is_silent=error.is_silent), None
    found.write(options.reports)
    recording = samples.read(options.reports / runner.RAW)
    return _judged(found, recording, targets, options, earlier)


def _processes(options: argparse.Namespace, generators: int) -> Processes:
    host, _, port = options.bind.rpartition(":")
    if not host or not port.isdigit():
        raise SubjectError(f"--bind expects HOST:PORT, got {options.bind!r}")
    return Processes(
        here=options.processes or generators,
        elsewhere=options.expect_workers,
        bind_host=host,
        bind_port=int(port),
    )


def _recheck(options: argparse.Namespace) -> Results:
    options.reports = options.recheck
    found, recording = kept.read(options.recheck, runner.RAW)
    return _judged(found, recording, load_targets(), options, _earlier(options.baseline))


def _earlier(file: Path | None) -> dict[str, Any] | None:
    """An earlier run, before this one overwrites it; its schedule is looked at later."""
    return None if file is None else baseline.read(file, machine_id=machine.fingerprint()["id"])


def _judged(
    found: Kept,
    recording: Recording,
    targets: LoadTargets,
    options: argparse.Namespace,
    earlier: dict[str, Any] | None,
) -> Results:
    run = found.as_run(recording)
    judged = Results(
        kept=found,
        recording=recording,
        run=run,
        judgement=gate.judge(run, targets),
        locust=results.locust_p99(options.reports / "locust"),
    )
    if earlier is not None:
        baseline.require_alike(earlier, found.digest, found.facts.get("stack", ""))
        compared = results.compare(judged.judgement, run, earlier, targets)
        judged = replace(judged, compared=compared, against=str(options.baseline))
    results.write(judged, options.reports)
    report.write(judged, options.reports)
    return judged


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
