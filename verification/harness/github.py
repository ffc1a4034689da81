"""What a run tells GitHub Actions: the summary of its step, and annotations. A leaf.

Source: GitHub, "Workflow commands for GitHub Actions", seen in November 2026.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """A remark at the head of the run, or at a line of a file."""

    level: Literal["error", "warning"]
    title: str
    message: str
    file: str = ""
    line: int = 0

    @property
    def command(self) -> str:
        """The line of stdout that makes it."""
        at = f"file={_property(self.file)},line={self.line}," if self.file else ""
        return f"::{self.level} {at}title={_property(self.title)}::{_data(self.message)}"


def tell(summary: str, annotations: Sequence[Annotation]) -> None:
    """Append the summary (Markdown) and print the annotations, when GitHub Actions runs this."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(summary)
    # A command begins its line; what was printed before may not have ended its own.
    print("", *(one.command for one in annotations), sep="\n", flush=True)  # noqa: T201  idem


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
