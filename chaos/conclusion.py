"""What a campaign comes to: go, no go or unknown; results.json; the line at the end.

Exit codes: 0 go, 1 no go (an experiment is false), 2 unknown (one is, or none was performed).
Source: DESIGN sections 5 and 6.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from chaos.judgement import Word
from chaos.kept import Result, as_json

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA: Final = "llmhive/chaos/1"
RESULTS: Final = "results.json"


class Answer(StrEnum):
    """Whether to deploy, as far as these experiments can say."""

    GO = "go"
    NO_GO = "no go"
    UNKNOWN = "unknown"


EXIT_CODES: Final = {Answer.GO: 0, Answer.NO_GO: 1, Answer.UNKNOWN: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """The whole of a campaign: its results, what was judged, where, by which seed."""

    results: Sequence[Result]
    artefact: Mapping[str, Any]
    stack: Mapping[str, Any]
    seed: int
    began: datetime
    ended: datetime
    known: int
    """How many experiments there are, performed or not."""
    undone_first: Sequence[str] = ()
    rechecked: str | None = None

    @property
    def answer(self) -> Answer:
        """No go when one is false; unknown when one is, or none holds."""
        words = {result.word for result in self.results}
        if Word.FALSE in words:
            return Answer.NO_GO
        if Word.UNKNOWN in words or Word.TRUE not in words:
            return Answer.UNKNOWN
        return Answer.GO

    @property
    def exit_code(self) -> int:
        """0 go, 1 no go, 2 unknown."""
        return EXIT_CODES[self.answer]

    @property
    def line(self) -> str:
        """The line at the end."""
        counts = Counter(result.word for result in self.results)
        parts = [f"{counts[Word.TRUE]} of {len(self.results)} experiments hold"]
        parts += [
            f"{counts[word]} {word}" for word in Word if word is not Word.TRUE and counts[word]
        ]
        if left_out := self.known - len(self.results):
            parts.append(f"{left_out} not asked for")
        return f"{self.answer}: {', '.join(parts)}; {self.artefact_told}; {self.stack_told}"

    @property
    def artefact_told(self) -> str:
        """What was judged, by name and fingerprint."""
        name = self.artefact.get("wheel") or self.artefact.get("kind", "unknown")
        mark = self.artefact.get("sha256") or self.artefact.get("sources") or ""
        return f"artefact {name}{f' ({mark})' if mark else ''}"

    @property
    def stack_told(self) -> str:
        """Where it ran."""
        return f"stack {self.stack.get('kind', 'none')}"

    def as_json(self) -> dict[str, Any]:
        """The document of results.json."""
        return {
            "schema": SCHEMA,
            "answer": self.answer.value,
            "line": self.line,
            "artefact": dict(self.artefact),
            "stack": dict(self.stack),
            "seed": self.seed,
            "began": _told(self.began),
            "ended": _told(self.ended),
            "rechecked": self.rechecked,
            "undone_first": list(self.undone_first),
            "experiments": [as_json(result) for result in self.results],
        }

    def write(self, folder: Path) -> None:
        """Write results.json."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.as_json(), indent=2, default=repr)
        (folder / RESULTS).write_text(text + "\n", "utf-8")


def _told(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
