"""What has to be undone when a run dies: written down and synced before each deed.

One file per run, JSON lines, locked by the kernel for as long as its run lives: first
`{"schema", "run", "began"}`, then `{"n", "kind", "says", "facts"}` before each deed and
`{"undone": n}` after it was undone. No secret is ever in it. A run that ends well removes its
file; `undo` does for a dead run what it could not do any more, in reverse order, and is called
by `nox -s target -- undo` and by the next run. Imports undo_ways only. Source: DESIGN section 7.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from verification.harness.undo_ways import GONE, NOTHING, WAYS, NotUndoneError

SCHEMA: Final = "llmhive/undo/1"
FOLDER: Final = Path(
    os.environ.get("LLMHIVE_UNDO_DIR", Path(__file__).parents[2] / ".cache" / "undo")
)
"""Where the runs of this checkout keep their files, unless LLMHIVE_UNDO_DIR says otherwise."""


class UndoError(Exception):
    """Something could not be undone, or the file says nothing that can be; says all of it."""


class RunStillGoingError(UndoError):
    """The run of this file lives: it undoes its own deeds."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was about to be done, and how one finds out whether it has to be undone."""

    number: int
    kind: str
    says: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Undone:
    """A deed that needs no undoing any more, and why: undone just now, or found gone."""

    deed: Deed
    how: str

    @property
    def was_left(self) -> bool:
        """Whether something was there to be undone."""
        return self.how != GONE and self.deed.kind != NOTHING

    def __str__(self) -> str:
        return f"{self.deed.says}: {self.how}"


class UndoLog:
    """The undo file of a run that lives. Safe to write from several threads."""

    def __init__(self, folder: Path, run_id: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{run_id}.jsonl"
        self._file = self.path.open("x", encoding="utf-8")
        self.path.chmod(0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)  # the kernel gives it back, however we end
        self._lock = threading.Lock()
        self._deeds: dict[int, Deed] = {}
        self._next = 0
        began = datetime.now(UTC).isoformat(timespec="seconds")
        self._say({"schema": SCHEMA, "run": run_id, "began": began})
        _sync_folder(folder)

    def write(self, kind: str, says: str, **facts: Any) -> int:
        """Write a deed down before it is done, and give its number.

        Takes: `kind`, one of undo_ways.WAYS; `says`, the deed for people; `facts`, what it takes
        to undo it, identity included.
        """
        if kind not in WAYS:
            raise ValueError(f"kind: expected one of {sorted(WAYS)}, got {kind!r}")
        with self._lock:
            deed = Deed(self._next, kind, says, facts)
            self._next += 1
            self._deeds[deed.number] = deed
            self._say({"n": deed.number, "kind": kind, "says": says, "facts": facts})
        return deed.number

    def strike(self, number: int) -> None:
        """The deed has been undone."""
        with self._lock:
            if self._deeds.pop(number, None) is not None:
                self._say({"undone": number})

    @property
    def outstanding(self) -> list[Deed]:
        """What would have to be undone if the run died now."""
        with self._lock:
            return list(self._deeds.values())

    def close(self) -> list[Undone]:
        """End well: undo what is left, remove the file, and give what was left.

        Raises: UndoError; then the file stays.
        """
        found = _undo_all(self.outstanding)
        self.path.unlink()
        self._file.close()
        return found

    def _say(self, fact: dict[str, Any]) -> None:
        self._file.write(json.dumps(fact) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def undo(path: Path = FOLDER) -> list[Undone]:
    """Undo what dead runs left, the last deed first; nothing left is as good.

    Takes: the file of one run, or a folder of them; files of runs that live are left alone in
    a folder, and refused by name.
    Gives: each deed that was not undone yet, with what was found or done.
    Raises: UndoError when something is left that could not be undone, after everything else was;
    its file stays.
    """
    if path.is_dir():
        return _undo_folder(path)
    if not path.exists():
        return []
    with path.open("r+", encoding="utf-8") as file:
        _take_over(file, path)
        found = _undo_all(_read(file, path))
        with suppress(FileNotFoundError):  # another undo was as quick
            path.unlink()
    return found


def _undo_folder(folder: Path) -> list[Undone]:
    found: list[Undone] = []
    troubles: list[str] = []
    for path in sorted(folder.glob("*.jsonl")):
        try:
            found += undo(path)
        except RunStillGoingError:
            continue
        except UndoError as error:
            troubles.append(str(error))
    if troubles:
        raise UndoError("\n".join(troubles))
    return found


def _take_over(file: IO[str], path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunStillGoingError(f"{path}: its run is still going") from error


def _read(file: IO[str], path: Path) -> list[Deed]:
    """The deeds that were not undone. A last line that was torn was never followed by its deed."""
    *lines, _torn = file.read().split("\n")
    deeds: dict[int, Deed] = {}
    try:
        facts = [json.loads(line) for line in lines]
        if facts and facts[0].get("schema") != SCHEMA:
            raise UndoError(f"{path}: expected {SCHEMA}, got {facts[0].get('schema')!r}")
        for fact in facts[1:]:
            if "undone" in fact:
                deeds.pop(fact["undone"], None)
            else:
                deeds[fact["n"]] = Deed(fact["n"], fact["kind"], fact["says"], fact["facts"])
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UndoError(f"{path}: expected an undo file: {error!r}") from error
    return list(deeds.values())


def _undo_all(deeds: list[Deed]) -> list[Undone]:
    found: list[Undone] = []
    troubles: list[str] = []
    for deed in reversed(deeds):
        try:
            found.append(Undone(deed, WAYS[deed.kind](deed.facts)))
        except KeyError:
            troubles.append(f"{deed.says}: nobody knows how to undo a {deed.kind!r}")
        except NotUndoneError as error:
            troubles.append(f"{deed.says}: {error}")
    if troubles:
        raise UndoError("\n".join(troubles))
    return found


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
