"""One experiment on one axis of time, from what was kept of it. Pure.

Seconds count from just before the first request. Breaker states come from the service's
own log where there is one, and from health otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from chaos.experiment import Phase
from chaos.steady_state import STEADY
from chaos.watching import HEALTH_SEEN
from verification.checkers.availability import LEFT, WHOLE, ending
from verification.checkers.nemesis_spans import NEMESIS
from verification.history import History, Operation, Outcome

if TYPE_CHECKING:
    from pathlib import Path

# What callers do; everything else in a history is the experiment's own.
ASKED: Final = ("chat", "deliver", "pair")
CLOSED: Final = "closed"
# Lines that tell a story: each request and its like are in the file.
DULL: Final = frozenset({"request", "admin_call", "webhook_handled"})
TROUBLED: Final = frozenset({"warning", "error", "critical"})
CIRCUIT_MOVED: Final = "circuit_moved"
LINES_MAX: Final = 200
# A little room before the first dot.
LEAD_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Point:
    """One request: when it was sent, how long it took, how it ended, in words and in a class."""

    at_s: float
    seconds: float
    ending: str
    kind: str
    """whole, left, refused (an answer that says no) or broken (no answer)."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Something that lasted: a state of a breaker or of health."""

    from_s: float
    until_s: float
    state: str


@dataclass(frozen=True, slots=True)
class Blow:
    """One fault: asked for, felt by a probe, healing begun, proven healed."""

    does: str
    met: str
    outcome: Outcome
    asked_s: float
    bites_s: float
    heals_s: float
    healed_s: float


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the service's log."""

    at_s: float
    level: str
    event: str
    told: str

    @property
    def is_trouble(self) -> bool:
        """It warns."""
        return self.level in TROUBLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Everything that the figure shows."""

    ends_s: float
    points: Sequence[Point] = ()
    blows: Sequence[Blow] = ()
    breakers: dict[str, list[Stretch]] = field(default_factory=dict)
    health: Sequence[Stretch] = ()
    lines: Sequence[Line] = ()
    looked_again: bool = False
    """Whether the runner looked for the steady state after the fault."""
    steady_again_s: float | None = None
    """When it was seen again; None when it was not."""


def timeline(history: History, log: str = "") -> Timeline:
    """The timeline of a kept experiment. Takes: `log`, JSON lines with `at_s`."""
    operations = list(history)
    asked = history.of(*ASKED)
    began_s = min((one.started_s for one in asked or operations), default=LEAD_S) - LEAD_S
    ends_s = max((one.finished_s for one in operations), default=began_s) - began_s
    lines = list(_lines(log, began_s, ends_s))
    return Timeline(
        ends_s=max(ends_s, 0.1),
        points=[_point(one, began_s) for one in asked],
        blows=[_blow(one, began_s) for one in history.of(NEMESIS)],
        breakers=_from_log(log, began_s, ends_s) or _from_health(history, began_s, ends_s),
        health=_health(history, began_s, ends_s),
        lines=lines,
        looked_again=bool(_looks_after(history)),
        steady_again_s=next(
            (
                one.finished_s - began_s
                for one in reversed(_looks_after(history))
                if one.outcome is Outcome.OK
            ),
            None,
        ),
    )


def read(folder: Path) -> Timeline:
    """The timeline of a folder that kept.py wrote. Raises HistoryError, OSError."""
    log = folder / "log.jsonl"
    text = log.read_text("utf-8") if log.exists() else ""
    return timeline(History.read(folder / "history.jsonl"), text)


def _point(one: Operation, began_s: float) -> Point:
    seconds = one.value.get("reading_s", one.finished_s - one.started_s)
    how = ending(one)
    return Point(one.started_s - began_s, float(seconds), how, _kind(one, how))


def _kind(one: Operation, how: str) -> str:
    if how in {WHOLE, LEFT}:
        return how
    return "refused" if one.value.get("status") and not one.value.get("error") else "broken"


def _blow(one: Operation, began_s: float) -> Blow:
    bites_s = float(one.value.get("bites_s", one.finished_s))
    heals_s = float(one.value.get("heals_s", one.finished_s))
    return Blow(
        does=str(one.value.get("does", one.value.get("name"))),
        met=str(one.value.get("met", "")),
        outcome=one.outcome,
        asked_s=one.started_s - began_s,
        bites_s=bites_s - began_s,
        heals_s=heals_s - began_s,
        healed_s=one.finished_s - began_s,
    )


def _looks_after(history: History) -> list[Operation]:
    return [one for one in history.of(STEADY) if one.value.get("phase") == Phase.AFTER]


def _rows(log: str) -> Iterable[dict[str, Any]]:
    return (json.loads(line) for line in log.splitlines() if line.strip())


def _lines(log: str, began_s: float, ends_s: float) -> Iterable[Line]:
    shown = {"at_s", "time", "level", "event", "request_id"}
    rows = [
        row for row in _rows(log) if row.get("event") not in DULL or row.get("level") in TROUBLED
    ]
    half = LINES_MAX // 2
    for row in rows if len(rows) <= LINES_MAX else [*rows[:half], *rows[-half:]]:
        at_s = float(row["at_s"]) - began_s
        if 0 <= at_s <= ends_s:
            told = " ".join(f"{name}={value}" for name, value in row.items() if name not in shown)
            yield Line(at_s, str(row.get("level")), str(row.get("event")), told)


def _from_log(log: str, began_s: float, ends_s: float) -> dict[str, list[Stretch]]:
    moves: dict[str, list[tuple[float, str]]] = {}
    for row in _rows(log):
        if row.get("event") == CIRCUIT_MOVED:
            at_s = min(max(0.0, float(row["at_s"]) - began_s), ends_s)
            moves.setdefault(str(row["service"]), []).append((at_s, str(row["to"])))
    return {name: _stretches([(0.0, CLOSED), *found], ends_s) for name, found in moves.items()}


def _from_health(history: History, began_s: float, ends_s: float) -> dict[str, list[Stretch]]:
    seen: dict[str, list[tuple[float, str]]] = {}
    for one in history.of(HEALTH_SEEN):
        for name, state in one.value.get("breakers", {}).items():
            seen.setdefault(name, []).append((one.finished_s - began_s, state))
    moved = {
        name: found for name, found in seen.items() if {state for _, state in found} != {CLOSED}
    }
    return {name: _stretches(found, ends_s) for name, found in moved.items()}


def _health(history: History, began_s: float, ends_s: float) -> list[Stretch]:
    seen = [
        (one.finished_s - began_s, str(one.value.get("status") or "no answer"))
        for one in history.of(HEALTH_SEEN)
    ]
    return _stretches([(max(0.0, at_s), status) for at_s, status in seen], ends_s)


def _stretches(moves: Sequence[tuple[float, str]], ends_s: float) -> list[Stretch]:
    """States that lasted, from moments at which each was seen; the same twice is one."""
    found: list[Stretch] = []
    for at_s, state in sorted(moves, key=lambda move: move[0]):
        if found and found[-1].state == state:
            continue
        if found:
            found[-1] = Stretch(found[-1].from_s, at_s, found[-1].state)
        found.append(Stretch(at_s, ends_s, state))
    return found
