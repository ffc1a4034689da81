"""What happened, as a list of operations that checkers judge.

A history is written while a claim runs and can be judged again later from its file: the
history is the authority, seeds are a convenience. Imports the standard library only.
Source: DESIGN section 5.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Outcome(StrEnum):
    """Whether the operation took effect."""

    OK = "ok"
    """It happened."""
    FAIL = "fail"
    """It certainly did not happen."""
    INFO = "info"
    """Nobody can say: a time-out, a broken connection, an answer that means both."""


class HistoryError(ValueError):
    """A history that cannot be read or cannot be true, with file and line."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that one process did, from `started_s` to `finished_s` (monotonic seconds).

    `process` names who did it, one thing after the other; `f` what kind of thing; `value` its
    arguments and its answer, as JSON. `evidence` says where to look, such as a request id.
    """

    index: int
    process: str
    f: str
    value: Mapping[str, Any]
    outcome: Outcome
    started_s: float
    finished_s: float
    evidence: str | None = None

    @property
    def effect_ends_s(self) -> float:
        """The latest moment at which it can have taken effect; infinite when nobody can say."""
        return math.inf if self.outcome is Outcome.INFO else self.finished_s

    def __str__(self) -> str:
        shown = " ".join(
            f"{name}={value}" for name, value in self.value.items() if value is not None
        )
        text = shown if len(shown) <= TEXT_MAX else f"{shown[:TEXT_MAX]}…"
        span = f"{self.started_s:.3f}..{self.finished_s:.3f} s"
        return f"#{self.index} {self.process} {self.f} {self.outcome} [{span}] {text}".rstrip()


# A witness is read by people: about two lines of a terminal for each operation.
TEXT_MAX = 200


class History:
    """An append-only list of operations. Safe to write from several threads.

    Iterating gives the operations of that moment, in the order in which they were added.
    """

    def __init__(self, operations: Iterable[Operation] = ()) -> None:
        self._operations = list(operations)
        self._lock = threading.Lock()

    def add(
        self,
        *,
        process: str,
        f: str,
        outcome: Outcome | str,
        started_s: float,
        finished_s: float,
        value: Mapping[str, Any] | None = None,
        evidence: str | None = None,
    ) -> Operation:
        """Append an operation and give it, with its index.

        Raises: HistoryError when it ended before it began.
        """
        if not started_s <= finished_s:
            raise HistoryError(
                f"{f} of {process}: expected started_s <= finished_s, got {started_s}, {finished_s}"
            )
        with self._lock:
            operation = Operation(
                index=len(self._operations),
                process=process,
                f=f,
                value=dict(value or {}),
                outcome=Outcome(outcome),
                started_s=started_s,
                finished_s=finished_s,
                evidence=evidence,
            )
            self._operations.append(operation)
        return operation

    def of(self, *kinds: str) -> list[Operation]:
        """The operations whose `f` is one of `kinds`, in order of their start."""
        found = [operation for operation in self if operation.f in kinds]
        return sorted(found, key=lambda operation: (operation.started_s, operation.index))

    def __iter__(self) -> Iterator[Operation]:
        with self._lock:
            return iter(list(self._operations))

    def __len__(self) -> int:
        return len(self._operations)

    def __getitem__(self, index: int) -> Operation:
        return self._operations[index]

    def to_json_lines(self) -> str:
        """One line of JSON for each operation; what JSON lacks is written as its repr."""
        return "".join(
            json.dumps(
                {
                    "index": operation.index,
                    "process": operation.process,
                    "f": operation.f,
                    "value": dict(operation.value),
                    "outcome": operation.outcome.value,
                    "started_s": operation.started_s,
                    "finished_s": operation.finished_s,
                    "evidence": operation.evidence,
                },
                ensure_ascii=False,
                default=repr,
            )
            + "\n"
            for operation in self
        )

    @classmethod
    def from_json_lines(cls, text: str, *, name: str = "history") -> History:
        """The history that `to_json_lines` wrote.

        Raises: HistoryError with `name` and the line that cannot be read.
        """
        history = cls()
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip():
                continue
            try:
                facts = json.loads(line)
                index = facts.pop("index")
                added = history.add(**facts)
            except (ValueError, TypeError, KeyError, AttributeError) as exc:
                raise HistoryError(f"{name}, line {number}: expected an operation: {exc}") from exc
            if added.index != index:
                raise HistoryError(
                    f"{name}, line {number}: expected index {added.index}, got {index}"
                )
        return history

    def write(self, path: Path) -> None:
        """Write the history as JSON lines."""
        path.write_text(self.to_json_lines(), "utf-8")

    @classmethod
    def read(cls, path: Path) -> History:
        """The history of a file. Raises HistoryError with file and line."""
        return cls.from_json_lines(path.read_text("utf-8"), name=str(path))
