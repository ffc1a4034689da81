"""What the service wrote to stdout and stderr, over all its starts. A leaf."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class ServiceLogs:
    """Reads the files that the service's output goes to, oldest start first."""

    files: list[Path] = field(default_factory=list)
    begin_bytes: dict[Path, int] = field(default_factory=dict)
    """Where the present claim's part begins, per file."""

    def add(self, *files: Path) -> None:
        """Read these too, from their beginning."""
        self.files += files

    def begin(self) -> None:
        """Forget what was written so far: a new claim begins."""
        self.begin_bytes = {file: file.stat().st_size for file in self.files if file.exists()}

    def text(self) -> str:
        """Everything written since the claim began."""
        return "".join(self._tail(file) for file in self.files)

    def lines(self, contains: str | None = None) -> list[dict[str, Any]]:
        """The JSON log lines since the claim began, those whose text holds `contains`."""
        wanted = [line for line in self.text().splitlines() if contains is None or contains in line]
        return [found for line in wanted if (found := _object(line)) is not None]

    def not_json(self) -> list[str]:
        """Lines on stdout that are no JSON object: a promise says there are none."""
        outs = (self._tail(file) for file in self.files if file.suffix == ".out")
        lines = (line for text in outs for line in text.splitlines() if line.strip())
        return [line for line in lines if _object(line) is None]

    def _tail(self, file: Path) -> str:
        try:
            return file.read_bytes()[self.begin_bytes.get(file, 0) :].decode("utf-8", "replace")
        except FileNotFoundError:
            return ""


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
