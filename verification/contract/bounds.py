"""What each fault may cost, read from bounds.toml. Source: DESIGN section 3."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("bounds.toml")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The numbers of bounds.toml that checkers use; durations in seconds."""

    buckets: int
    back_to_shared_within_s: float
    redis_holds_up_a_request_s: float
    breaker_open_within_s: float
    override_within_s: float
    revocation_within_s: float
    entitlement_within_s: float
    caller_left_within_s: float
    in_flight_slots_back_within_s: float
    event_lease_back_within_s: float
    known_key_works_without_database_s: float
    extra_admitted: dict[str, str]
    """Kind of fault -> formula over L and N, one of FORMULAS."""
    wrongly_refused_after_clock_step_windows: float

    def above_limit(self, fault: str, *, limit: int, workers: int) -> int:
        """How many requests above the limit one fault of that kind may let through."""
        formula = self.extra_admitted[fault]
        if formula == "L":
            return limit
        return workers * math.ceil(limit / workers)


FORMULAS: Final = ("L", "N * ceil(L / N)")
STEP_FORMULA: Final = "2 * W"


class BoundsError(ValueError):
    """bounds.toml says something that nobody can compute."""


@cache
def bounds() -> Bounds:
    """The bounds. Raises BoundsError when a formula is none of those that are known."""
    return parse(FILE.read_text("utf-8"))


def parse(text: str) -> Bounds:
    """The bounds of a text in TOML. Raises BoundsError."""
    tables: dict[str, dict[str, Any]] = tomllib.loads(text)
    extra = {
        fault: str(table["extra_admitted"])
        for fault, table in tables.items()
        if "extra_admitted" in table
    }
    if strange := {fault: formula for fault, formula in extra.items() if formula not in FORMULAS}:
        raise BoundsError(f"extra_admitted: expected one of {FORMULAS}, got {strange}")
    step = tables["clock_stepped"]["may_refuse_wrongly_for"]
    if step != STEP_FORMULA:
        raise BoundsError(f"may_refuse_wrongly_for: expected {STEP_FORMULA!r}, got {step!r}")
    news, killed = tables["propagation"], tables["worker_killed"]
    return Bounds(
        buckets=tables["rate_window"]["buckets"],
        back_to_shared_within_s=tables["redis_away"]["back_to_shared_within_s"],
        redis_holds_up_a_request_s=tables["redis_away"]["holds_up_a_request_s"],
        breaker_open_within_s=news["breaker_open_within_s"],
        override_within_s=news["override_within_s"],
        revocation_within_s=news["revocation_within_s"],
        entitlement_within_s=news["entitlement_within_s"],
        caller_left_within_s=news["caller_left_within_s"],
        in_flight_slots_back_within_s=killed["in_flight_slots_back_within_s"],
        event_lease_back_within_s=killed["event_lease_back_within_s"],
        known_key_works_without_database_s=tables["database_away"]["known_key_works_for_s"],
        extra_admitted=extra,
        wrongly_refused_after_clock_step_windows=2.0,
    )
