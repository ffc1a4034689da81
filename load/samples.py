"""What the generators saw, line by line: append-only, synced, merged without loss.

Each generator process appends to a file of its own; a master on another host appends the same
lines, shipped to it, under the same name. A line that is there twice counts once; two different
lines about one request are an error; a request without a line is seen by the gate, since the
schedule says which there must be. May import the standard library only: generators load it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

SUFFIX: Final = ".samples.jsonl"
# Microseconds: finer than any clock that is read here.
DIGITS: Final = 6


class SampleError(ValueError):
    """Lines that cannot be read, or contradict each other: file, line, and what was expected."""


class Outcome(StrEnum):
    """How one request ended."""

    OK = "ok"
    FAILED = "failed"
    """Refused, answered with an error, cut, or not answered within the time-out."""
    DROPPED = "dropped"
    """Not sent, because every caller was still waiting for an answer."""
    UNFINISHED = "unfinished"
    """Still on its way when the drain was over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request. Times are seconds after the start of the schedule, by its generator's clock.

    `error` says in one or two words what kind of failure it was; `served_by` is what the answer
    said, `<instance>/<host>-<pid>`.
    """

    index: int
    kind: str
    intended_s: float
    outcome: Outcome
    sent_s: float | None = None
    first_s: float | None = None
    done_s: float | None = None
    status: int | None = None
    error: str | None = None
    request_id: str | None = None
    served_by: str | None = None
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A generator's pulse: both clocks, the processor time it has used, how late the beat was."""

    at_s: float
    wall_s: float
    cpu_s: float
    late_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """One control ping on the generator's own machine: when it was due, how long it took."""

    at_s: float
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """A generator starts: which share of the schedule is its, of which plan."""

    number: int
    of: int
    plan: str
    started: float
    machine: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A generator ends: how many requests it has written, and why and when it sent no more."""

    at_s: float
    requests: int
    stopped: str | None = None
    stopped_s: float = 0.0


Line = Sample | Beat | Ping | Begin | End
TYPES: Final[dict[str, type[Line]]] = {
    "sample": Sample,
    "beat": Beat,
    "ping": Ping,
    "begin": Begin,
    "end": End,
}
NAMES: Final = {kind: name for name, kind in TYPES.items()}


def encode(line: Line) -> str:
    """One line of JSON, without its line feed; what is not known is left out."""
    facts = {
        name: round(value, DIGITS) if isinstance(value, float) else value
        for name, value in asdict(line).items()
        if value is not None
    }
    return json.dumps({"type": NAMES[type(line)], **facts}, separators=(",", ":"))


def decode(text: str) -> Line:
    """The line that `encode` wrote. Raises SampleError."""
    try:
        facts = json.loads(text)
        if "outcome" in facts:
            facts["outcome"] = Outcome(facts["outcome"])
        return TYPES[facts.pop("type")](**facts)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SampleError(f"expected a line of samples, got {text[:80]!r} ({error})") from error


class Recorder:
    """Appends lines to a generator's file; `append` brings them onto the disk."""

    def __init__(self, folder: Path, generator: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{generator}{SUFFIX}"
        self._file = self.path.open("ab")
        self._pending: list[str] = []
        self.requests = 0

    def add(self, line: Line) -> None:
        """Keep a line until it is taken to be written."""
        self.requests += isinstance(line, Sample)
        self._pending.append(encode(line))

    def take(self) -> list[str]:
        """The lines that wait to be written, to hand to `append`."""
        taken, self._pending = self._pending, []
        return taken

    def append(self, texts: Iterable[str]) -> None:
        """Write lines as they are, and sync."""
        if data := "".join(f"{text}\n" for text in texts).encode():
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write what is pending, sync and close."""
        self.append(self.take())
        self._file.close()


@dataclass(slots=True)
class Generator:
    """What one generator process wrote."""

    name: str
    begin: Begin | None = None
    end: End | None = None
    beats: list[Beat] = field(default_factory=list)
    pings: list[Ping] = field(default_factory=list)


@dataclass(slots=True)
class Recording:
    """Everything that all generators wrote: samples by the number of their arrival."""

    samples: dict[int, Sample] = field(default_factory=dict)
    generators: dict[str, Generator] = field(default_factory=dict)
    torn: int = 0
    """Last lines that were cut off: a generator was killed while it wrote."""

    @property
    def pings(self) -> list[Ping]:
        """The control pings of every generator."""
        return [ping for one in self.generators.values() for ping in one.pings]

    @property
    def stopped(self) -> str | None:
        """Why generators ended early, None when they did not."""
        reasons = {one.end.stopped for one in self.generators.values() if one.end}
        return "; ".join(sorted(reason for reason in reasons if reason)) or None

    def add(self, name: str, lines: Iterable[Line]) -> None:
        """Merge the lines of one generator.

        Raises: SampleError when two lines about one request differ.
        """
        generator = self.generators.setdefault(name, Generator(name))
        for line in lines:
            if isinstance(line, Sample):
                known = self.samples.setdefault(line.index, line)
                if known != line:
                    raise SampleError(f"request {line.index}: two different samples, in {name}")
            else:
                _file_away(generator, line)


def _file_away(generator: Generator, line: Beat | Ping | Begin | End) -> None:
    if isinstance(line, Beat):
        generator.beats.append(line)
    elif isinstance(line, Ping):
        generator.pings.append(line)
    elif isinstance(line, Begin):
        generator.begin = line
    else:
        generator.end = line


def read(folder: Path) -> Recording:
    """Everything that lies in a folder, merged. Raises SampleError with file and line."""
    recording = Recording()
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        *whole, rest = path.read_text("utf-8").split("\n")
        recording.torn += bool(rest)
        recording.add(path.name.removesuffix(SUFFIX), _decoded(path, whole))
    return recording


def _decoded(path: Path, texts: list[str]) -> Iterable[Line]:
    seen: set[str] = set()
    for number, text in enumerate(texts, 1):
        if text in seen:
            continue
        seen.add(text)
        try:
            yield decode(text)
        except SampleError as error:
            raise SampleError(f"{path.name}, line {number}: {error}") from error
