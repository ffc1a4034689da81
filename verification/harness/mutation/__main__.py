"""The command behind `nox -s mutants`: judges every mutant and the healthy service.

Ends 0 when all are caught and the healthy service passes, 1 when one is missed or the
healthy service fails, 2 when the healthy service is unknown, 3 when a mutant is broken
or nothing could be run.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from verification.harness.command_line import COULD_NOT_RUN, CommandLine
from verification.harness.mutation import report
from verification.harness.mutation.experiments import PREFIX, run_experiments
from verification.harness.mutation.judge import (
    BROKEN,
    CAUGHT,
    MISSED,
    ROOT,
    Claims,
    Detection,
    installed_package,
    judge,
    run_claims,
    together,
)
from verification.harness.mutation.mutant import Mutant, MutantError, read_mutants

MUTANTS = ROOT / "verification" / "mutants"
# Which claims caught which mutant, kept in git so that a fresh clone asks those first.
MEMORY = MUTANTS / "caught_by.json"
# Each judged mutant runs a service, a Redis and its claims: two fit two cores.
AT_ONCE = 2


def judge_all(mutants: list[Mutant], told: Callable[[Detection], None]) -> list[Detection]:
    """Judge every mutant, some at once; each result is said and `told` when it is there."""
    package, memory, detections = installed_package(), recall(), []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [
            pool.submit(judge, mutant, package, memory.get(mutant.id, ())) for mutant in mutants
        ]
        for run in as_completed(runs):
            detection = run.result()
            detections.append(detection)
            by = ", ".join(detection.caught_by) or detection.why
            line = f"{detection.verdict:7} {detection.id:32} {detection.seconds:6.1f} s  {by}"
            print(line, flush=True)  # noqa: T201  the command's answer
            told(detection)
    return sorted(detections, key=lambda detection: detection.id)


def judge_healthy(detections: list[Detection], folder: Path, *, partial: bool) -> Claims:
    """The claims on the healthy service: all of them, or those that caught something, if any.

    Experiments of chaos that caught something are performed, too. Both leave their reports and
    evidence in `folder`.
    """
    caught_by = sorted({claim for detection in detections for claim in detection.caught_by})
    if partial and not caught_by:
        return Claims("unknown", {}, "nothing was caught, so nothing was asked")
    chaos = [one for one in caught_by if one.startswith(PREFIX)]
    claims = tuple(one for one in caught_by if one not in chaos)
    shutil.rmtree(folder, ignore_errors=True)
    said = []
    if claims or not partial:
        asked = claims if partial else ()
        said.append(run_claims(folder / "claims", claims=asked, workers=AT_ONCE))
    if chaos:
        said.append(Claims(*run_experiments(folder / "chaos", chaos)))
    return together(said)


def exit_code(healthy: Claims, detections: list[Detection]) -> int:
    """Missed is 1, else broken is 3, else what the healthy service says."""
    verdicts = {detection.verdict for detection in detections}
    if MISSED in verdicts:
        return 1
    if BROKEN in verdicts:
        return 3
    return {"pass": 0, "fail": 1}.get(healthy.verdict, 2)


def recall(file: Path = MEMORY) -> dict[str, list[str]]:
    """Which claims caught which mutant."""
    known: dict[str, list[str]] = json.loads(file.read_text()) if file.exists() else {}
    return known


def remember(detection: Detection, file: Path = MEMORY) -> None:
    """Keep which claims caught a mutant, when that is news; what is known of others stays."""
    known = recall(file)
    is_known = set(detection.caught_by) & set(known.get(detection.id, ()))
    if detection.verdict == CAUGHT and not is_known:
        fresh = {**known, detection.id: [*detection.caught_by]}
        file.write_text(json.dumps(dict(sorted(fresh.items())), indent=2) + "\n")


def forget(_: Detection) -> None:
    """Keep nothing of mutants that are not ours."""


def select(folder: Path, only: list[str]) -> list[Mutant]:
    """The mutants of `folder`, or those named. Raises MutantError when a name is unknown."""
    mutants = read_mutants(folder)
    if unknown := sorted(set(only) - {mutant.id for mutant in mutants}):
        raise MutantError(f"expected ids of mutants in {folder}, got {unknown}")
    return [mutant for mutant in mutants if not only or mutant.id in only]


def main(arguments: list[str]) -> int:
    """Judge the mutants, then the healthy service; write detection.json and report.html."""
    parser = CommandLine(prog="nox -s mutants --")
    parser.add_argument("--from", dest="folder", type=Path, default=MUTANTS, metavar="DIR")
    parser.add_argument("--only", action="append", default=[], metavar="ID")
    parser.add_argument("--reports", type=Path, default=ROOT / "reports" / "mutants")
    options = parser.parse_args(arguments)
    try:
        mutants = select(options.folder, options.only)
    except MutantError as exc:
        print(f"could not run: {exc}", file=sys.stderr)  # noqa: T201  the command's answer
        return COULD_NOT_RUN
    # At once, so that a run that is ended early has not judged in vain.
    detections = judge_all(mutants, remember if options.folder == MUTANTS else forget)
    healthy = judge_healthy(detections, options.reports / "healthy", partial=bool(options.only))
    print(report.write(options.reports, healthy, detections), flush=True)  # noqa: T201  idem
    return exit_code(healthy, detections)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
