"""The secrets of a desk, in one file that only its owner can read.

`NAME=value` lines, so that a shell can read it and a target file can refer to a line of it
(`file:PATH#NAME`). Imports the stack's defaults only.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Final

from verification.harness.stack import defaults

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "secrets.env"
KEY: Final = "KEY_"
CANARY: Final = "CANARY_"
WEBHOOK: Final = "STRIPE_WEBHOOK_SECRET"


@dataclass(slots=True)
class DeskSecrets:
    """What the desk's service was given, and the keys that it gave out by user id."""

    file: Path
    canaries: defaults.Canaries
    keys: dict[str, str]

    @classmethod
    def read(cls, folder: Path, *, is_new: bool) -> DeskSecrets:
        """The secrets of a folder; fresh ones for what it lacks.

        Takes: `is_new` says that no database knows the keys of before.
        """
        file = folder / FILE
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        found = dict(line.split("=", 1) for line in lines if "=" in line)
        names = [one.name for one in fields(defaults.Canaries)]
        kept = {name: found.get(f"{CANARY}{name.upper()}") for name in names}
        fresh = asdict(defaults.new_canaries())
        canaries = defaults.Canaries(**{name: kept[name] or fresh[name] for name in names})
        keys = {
            _user(name): text for name, text in found.items() if name.startswith(KEY) and not is_new
        }
        return cls(file, canaries, keys)

    def write(self) -> None:
        """Write all of them, readable by the owner alone."""
        lines = {variable(user): key for user, key in self.keys.items()}
        lines[WEBHOOK] = self.canaries.webhook
        lines |= {f"{CANARY}{name.upper()}": text for name, text in asdict(self.canaries).items()}
        text = "".join(f"{name}={secret}\n" for name, secret in lines.items())
        unfinished = self.file.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(
            os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w"
        ) as new:
            new.write(text)
        unfinished.replace(self.file)


def variable(user: str) -> str:
    """The name of the line that holds a user's key: `KEY_DESK_FREE` of desk-free."""
    return f"{KEY}{user.upper().replace('-', '_')}"


def _user(name: str) -> str:
    return name.removeprefix(KEY).lower().replace("_", "-")
