"""What a service under load must keep, read from load.toml.

A leaf: the generator and the gate both read it. Source: DESIGN section 9; checklist, Alerts to
Configure.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("load.toml")

KINDS: Final = ("chat", "stream", "health", "webhook")
"""What a load is mixed of."""

ANSWERED: Final = "answered"
FIRST_TOKEN: Final = "first_token"  # noqa: S105  a measure's name
ADDED: Final = "added"
MEASURES: Final = (ANSWERED, FIRST_TOKEN, ADDED)
"""From the moment due to the end; to the first token; the service's own time."""


class LoadTargetsError(ValueError):
    """load.toml says something that nobody can judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTarget:
    """At most `share_late_max` of the requests of `kinds` take longer than `within_s`."""

    id: str
    text: str
    source: str
    kinds: tuple[str, ...]
    measure: str
    within_s: float
    share_late_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorTarget:
    """At most `share_failed_max` of the requests of `kinds` fail."""

    id: str
    text: str
    source: str
    kinds: tuple[str, ...]
    share_failed_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentBounds:
    """What the instrument must have kept for a run to say anything."""

    rate_share_min: float
    lag_p99_s_max: float
    cpu_share_max: float
    clock_step_s_max: float
    control_share_max: float
    crowd_idle_share_max: float
    crowd_foreign_share_min: float
    beat_late_s_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineBounds:
    """What counts as slower than an earlier run."""

    factor: float
    error_probability: float
    crowded_share_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTargets:
    """Everything that load.toml says."""

    latency: tuple[LatencyTarget, ...]
    errors: tuple[ErrorTarget, ...]
    instrument: InstrumentBounds
    baseline: BaselineBounds


@cache
def load_targets() -> LoadTargets:
    """The targets. Raises LoadTargetsError."""
    return parse(FILE.read_text("utf-8"))


def parse(text: str) -> LoadTargets:
    """The targets of a text in TOML. Raises LoadTargetsError with the first thing wrong."""
    tables: dict[str, Any] = tomllib.loads(text)
    try:
        targets = LoadTargets(
            latency=tuple(LatencyTarget(**_row(row)) for row in tables["latency"]),
            errors=tuple(ErrorTarget(**_row(row)) for row in tables["errors"]),
            instrument=InstrumentBounds(**tables["instrument"]),
            baseline=BaselineBounds(**tables["baseline"]),
        )
    except (KeyError, TypeError) as error:
        raise LoadTargetsError(f"load.toml: {error}") from error
    for latency in targets.latency:
        if latency.measure not in MEASURES:
            raise LoadTargetsError(
                f"{latency.id}: expected a measure of {MEASURES}, got {latency.measure!r}"
            )
    both: tuple[LatencyTarget | ErrorTarget, ...] = (*targets.latency, *targets.errors)
    for target in both:
        if strange := set(target.kinds) - set(KINDS):
            raise LoadTargetsError(f"{target.id}: expected kinds of {KINDS}, got {strange}")
    return targets


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "kinds": tuple(row["kinds"])}
