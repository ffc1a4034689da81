"""A mutant as data: one known bug, as edits of the service's own text.

Files stand in `verification/mutants/<group>/<id>.toml`. An edit's `find` must occur
exactly once, so that a mutant that no longer applies is noticed instead of passing as a
healthy service. Imports nothing of the suite.
"""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

TEXTS = ("id", "group", "breaks", "source")


class MutantError(Exception):
    """A mutant that cannot be read or no longer applies: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement in one file; `file` is relative to the repository's root."""

    file: str
    find: str
    replace: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One known bug: what promise it breaks, where it was seen, and how it is planted."""

    id: str
    group: str
    breaks: str
    source: str
    needs: tuple[str, ...]
    edits: tuple[Edit, ...]


def read_mutant(path: Path) -> Mutant:
    """A mutant from its TOML file.

    Raises: MutantError when the file is no TOML, a field is missing, unknown or of another type.
    """
    try:
        data = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise MutantError(f"{path}: expected a TOML file, got {exc}") from exc
    unknown = set(data) - {*TEXTS, "needs", "edit"}
    missing = [name for name in TEXTS if not isinstance(data.get(name), str)]
    edits = data.get("edit", [])
    if unknown or missing:
        raise MutantError(
            f"{path}: missing {missing or 'nothing'}, unknown {sorted(unknown) or 'nothing'}"
        )
    if not _are_texts(data.get("needs", [])):
        raise MutantError(f"{path}: expected needs as a list of texts, got {data['needs']!r}")
    if not edits or not isinstance(edits, list) or not all(map(_is_edit, edits)):
        raise MutantError(
            f"{path}: expected [[edit]] tables of file, find and replace, got {edits}"
        )
    if data["id"] != path.stem:
        raise MutantError(f"{path}: expected the id {path.stem!r}, got {data['id']!r}")
    return Mutant(
        id=data["id"],
        group=data["group"],
        breaks=data["breaks"],
        source=data["source"],
        needs=tuple(data.get("needs", ())),
        edits=tuple(Edit(**edit) for edit in edits),
    )


def _is_edit(told: object) -> bool:
    if not isinstance(told, dict) or set(told) != {"file", "find", "replace"}:
        return False
    return _are_texts(list(told.values()))


def _are_texts(told: object) -> bool:
    return isinstance(told, list) and all(isinstance(one, str) for one in told)


def read_mutants(folder: Path) -> list[Mutant]:
    """Every mutant below `folder`, by id. Raises MutantError for none, or for a double id."""
    mutants = [read_mutant(path) for path in sorted(folder.rglob("*.toml"))]
    if not mutants:
        raise MutantError(f"expected mutants (*.toml) in {folder}, got none")
    ids = [mutant.id for mutant in mutants]
    if double := sorted({each for each in ids if ids.count(each) > 1}):
        raise MutantError(f"expected one mutant per id, got several of {double}")
    return sorted(mutants, key=lambda mutant: mutant.id)


def plant(mutant: Mutant, package: Path, overlay: Path) -> None:
    """Copy the installed `package` into `overlay` and apply every edit there.

    Takes: package, the installed folder `llmhive`; overlay, a folder for PYTHONPATH.
    Raises: MutantError when a file is missing or `find` does not occur exactly once.
    """
    skipped = shutil.ignore_patterns("__pycache__", "tests")
    shutil.copytree(package, overlay / package.name, ignore=skipped)
    for file, text in edited(mutant, overlay / package.name).items():
        file.write_text(text)


def edited(mutant: Mutant, package: Path) -> dict[Path, str]:
    """What the mutant makes of each file of `package` that it edits. Changes nothing.

    Raises: MutantError when a file is missing or `find` does not occur exactly once.
    """
    found: dict[Path, str] = {}
    for edit in mutant.edits:
        file = (package.parent / edit.file).resolve()
        if not file.is_relative_to(package.resolve()) or not file.is_file():
            raise MutantError(f"{mutant.id}: expected a file of the service, got {edit.file}")
        text = found.get(file) or file.read_text()
        if (count := text.count(edit.find)) != 1:
            where = f"{mutant.id}: expected once in {edit.file}"
            raise MutantError(f"{where}, found {count} times: {edit.find[:80]!r}")
        found[file] = text.replace(edit.find, edit.replace)
    return found
