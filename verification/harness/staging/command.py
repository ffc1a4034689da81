"""`nox -s target -- init|check|plan|undo|cleanup FILE`: what can be known and mended around a run.

Exit codes: 0 fine, 1 a foreign target or something that is wrong with it, 2 a silent target
or something that nobody can say, 3 an unusable file, a pin that differs, a lease that is held.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from verification.harness import target_file
from verification.harness.stack.model import StackError
from verification.harness.stack.programs import ROOT
from verification.harness.staging import cleanup, session
from verification.harness.staging.estimate import estimate_of
from verification.harness.staging.example import Example
from verification.harness.staging.look_around import look_around
from verification.harness.staging.sighting import Seen, Sighting, look
from verification.harness.staging.survey import Survey, all_claims, survey
from verification.harness.target_file import TargetFile, TargetFileError
from verification.harness.undo import UndoError
from verification.harness.undo import undo as undo_all

if TYPE_CHECKING:
    from collections.abc import Callable

FINE, WRONG, UNKNOWN, COULD_NOT = 0, 1, 2, 3
KINDS: Final = ("verify", "chaos", "load")
USAGE: Final = """\
usage: nox -s target -- init FILE [--url URL] [--secrets FILE]
       nox -s target -- check|undo|cleanup FILE
       nox -s target -- plan FILE [verify|chaos|load] [--profile P]"""


def main(arguments: list[str]) -> int:
    """One word, a file, and for `init` what it may ask."""
    commands: dict[str, Callable[[Path], int]] = {
        "check": check,
        "undo": undo,
        "cleanup": clean_up,
    }
    word, *rest = arguments or [""]
    try:
        if word == "init":
            return init(rest)
        if word == "plan" and rest:
            return plan(Path(rest[0]).resolve(), rest[1:])
        if word not in commands or len(rest) != 1:
            return _complain(USAGE)
        return commands[word](Path(rest[0]).resolve())
    except (TargetFileError, StackError, OSError) as error:
        return _complain(str(error))


def init(arguments: list[str]) -> int:
    """Write a commented file, filled in as far as can be; never over one that is there."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("file", type=Path)
    parser.add_argument("--url")
    parser.add_argument("--secrets", type=Path)
    try:
        given, unknown = parser.parse_known_args(arguments)
    except (argparse.ArgumentError, SystemExit):
        return _complain(USAGE)
    if unknown:
        return _complain(USAGE)
    example = Example()
    if given.url:
        example.ask(given.url)
    if given.secrets:
        example.refer_to(given.secrets)
    with given.file.open("x", encoding="utf-8") as new:
        new.write(example.text())
    _say(f"wrote {given.file}; look through it, then: nox -s target -- check {given.file}")
    return FINE


def check(file: Path) -> int:
    """Read the file and look at the target, by GET requests alone; changes nothing anywhere."""
    target = target_file.read(file)
    sighting = look(target)
    _say(f"{target.base_url}: {sighting.says}")
    if sighting.seen is not Seen.OURS:
        return sighting.exit_code
    _say(f"version {sighting.version or 'unknown'}, environment {target.environment}")
    looks = list(look_around(target))
    for one in looks:
        _say(str(one))
    found = survey(all_claims(), target.capabilities, target.workers)
    _say_survey(found)
    if any(one.is_well is False for one in looks):
        return WRONG
    return FINE


def plan(file: Path, of: list[str]) -> int:
    """Say what a run would do, touch, use and leave.

    Takes: which run, `verify` if nothing is said; `chaos` and `load` plan for themselves, with
    what stands behind their name.
    """
    kind, *options = of or ["verify"]
    if kind not in KINDS or (options and kind == "verify"):
        return _complain(USAGE)
    target = target_file.read(file)
    sighting = look(target)
    _say(f"{target.base_url}: {sighting.says}")
    _say(f"hosts that may be touched: {', '.join(sorted(target.hosts))}")
    _say(f"one run at a time by {_lease_of(target, file)}")
    _say(f"stops when {session.stop_file_of(file).name} stands beside the file")
    _say(_users_of(target))
    planned = _plan_verify(target) if kind == "verify" else _plan_of(kind, file, options)
    return sighting.exit_code or planned


def _plan_verify(target: TargetFile) -> int:
    found = survey(all_claims(), target.capabilities, target.workers)
    needed = estimate_of(found.askable, target.budget)
    _say_survey(found)
    _say(f"verify would use about: {target.budget.told(needed)}")
    if reason := target.budget.exceeded_by(needed):
        _say(f"{reason} would be spent before the end; the rest would be unknown")
        return WRONG
    return FINE


def _plan_of(kind: str, file: Path, options: list[str]) -> int:
    """What `chaos` or `load` says of itself: they build on this package, never the other way."""
    command = [sys.executable, "-m", kind, "--plan", "--target", str(file), *options]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def undo(file: Path) -> int:
    """Undo what killed runs left on, the last deed first, and say what could not be undone."""
    target_file.read(file)
    try:
        found = undo_all()
    except UndoError as error:
        return _complain(f"not everything could be undone:\n{error}")
    for one in found:
        _say(str(one))
    _say("nothing is left to be undone")
    return FINE


def clean_up(file: Path) -> int:
    """Remove what runs made on the target, and show that nothing is left."""
    target = target_file.read(file)
    sighting = look(target)
    if sighting.seen is not Seen.OURS:
        return _complain(f"{target.base_url}: {sighting.says}", sighting)
    done = _removed_under_lease(file, target)
    for line in done.lines():
        _say(line)
    if not done.is_proved and "admin_key" in target.secrets:
        return UNKNOWN
    shutil.rmtree(session.state_of(file), ignore_errors=True)
    return FINE


def _removed_under_lease(file: Path, target: TargetFile) -> cleanup.Removal:
    """Clean up while no run is under way: its users would go with the others."""
    lease = session.take_lease(file, target, "cleanup")
    try:
        return cleanup.remove(target)
    finally:
        lease.release()


def _lease_of(target: TargetFile, file: Path) -> str:
    if "admin_key" in target.secrets:
        return "a lease on the target, which ends by itself when a run is killed"
    return f"{session.lock_file_of(file).name} beside the file: others' files are not seen"


def _users_of(target: TargetFile) -> str:
    if "admin_key" in target.secrets:
        return f"users are made with the tag {cleanup.TAG}<run> and removed when the run ends"
    return f"{len(target.users)} users are lent; what happens to them stays theirs"


def _say_survey(found: Survey) -> None:
    total = len(found.askable) + len(found.lacking)
    _say(f"{len(found.askable)} of {total} claims can be asked")
    lines = f"{len(found.items)} of {found.of} lines of the checklist could be verified"
    _say(f"{lines}, and {len(found.partly)} in part")
    for want, count in found.wants():
        _say(f"  {count} claims want: {want}")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  the command's answer


def _complain(text: str, sighting: Sighting | None = None) -> int:
    print(text, file=sys.stderr)  # noqa: T201  the command's answer
    return sighting.exit_code if sighting else COULD_NOT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
