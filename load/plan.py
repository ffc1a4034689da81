"""What a generator process is told: one JSON file, written by the runner or by hand.

It holds users' keys and the webhook secret, so it is written for its owner's eyes only and lies
outside the reports. Standard library only: generators load it.
"""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from load.schedule import Stage, Traffic

VARIABLE: Final = "LLMHIVE_LOAD_PLAN"
"""Where a generator finds the path of its plan."""
FOLDER_VARIABLE: Final = "LLMHIVE_LOAD_FOLDER"
"""Where a generator on another host writes its samples, instead of where the plan says."""

# Time between a start and the first due request: callers are made, connections opened.
LEAD_S: Final = 2.0
# Beyond the callers that the rates need by Little's law when every answer takes the time-out.
CALLERS_MARGIN: Final = 1.2
CALLERS_MIN: Final = 16
# What differs from run to run and from host to host, though what is sent is the same.
OF_ONE_RUN: Final = ("folder", "run_id", "stop_file", "webhook_events")


class PlanError(ValueError):
    """A plan that cannot be followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A user of the service: the key, and how much of the traffic is theirs."""

    key: str = field(repr=False)
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """When to stop: so many requests, tokens; so large a share of errors after so many requests."""

    requests: int | None = None
    tokens: int | None = None
    error_share: float = 1.0
    after_requests: int = 100

    def shared(self, of: int) -> Budget:
        """One of `of` generators' part of it; together they never exceed the whole."""
        return replace(
            self,
            requests=None if self.requests is None else self.requests // of,
            tokens=None if self.tokens is None else self.tokens // of,
            after_requests=-(-self.after_requests // of),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run as generators see it. `folder` is where raw samples are kept."""

    run_id: str
    profile: str
    traffic: Traffic
    warm_up_s: float
    request_timeout_s: float
    callers: tuple[Caller, ...]
    budget: Budget
    folder: str
    webhook_secret: str | None = field(default=None, repr=False)
    webhook_events: tuple[str, ...] = ()
    """Templates, see webhooks.py; none: events without effect."""
    stop_file: str | None = None
    """A generator sends nothing more once this file is there."""

    @property
    def in_flight_max(self) -> int:
        """Callers that can wait at once: none is ever short while answers keep their time-out."""
        rate = sum(self.traffic.rates.values()) * self.traffic.peak
        return max(CALLERS_MIN, int(rate * self.request_timeout_s * CALLERS_MARGIN))

    @property
    def drain_s(self) -> float:
        """How long after the last arrival a request may still be on its way."""
        return self.request_timeout_s + 1.0

    @property
    def over_s(self) -> float:
        """When the last request has ended, counted from the start of the schedule."""
        return self.traffic.duration_s + self.drain_s

    @property
    def digest(self) -> str:
        """A fingerprint of what is sent and when: all generators of a run must agree on it."""
        facts = {name: value for name, value in self.public().items() if name not in OF_ONE_RUN}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def public(self) -> dict[str, Any]:
        """Everything but the secrets, as plain values."""
        return asdict(replace(self, callers=(), webhook_secret=None, webhook_events=())) | {
            "users": len(self.callers)
        }

    def key_for(self, draw: float) -> str:
        """The key of the user that a number below 1 chooses, by their weights."""
        weights = list(accumulate(caller.weight for caller in self.callers))
        return self.callers[min(bisect(weights, draw * weights[-1]), len(weights) - 1)].key

    def write(self, path: Path) -> None:
        """Write the plan so that only its owner can read it."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)


def read(path: Path) -> Plan:
    """The plan that `write` wrote. Raises PlanError."""
    try:
        return parse(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PlanError(f"{path}: expected a plan of a load run: {error}") from error


def parse(facts: dict[str, Any]) -> Plan:
    """A plan from its plain values."""
    traffic = facts["traffic"]
    stages = [Stage(**stage) for stage in traffic["stages"]]
    return Plan(
        **facts
        | {
            "traffic": Traffic(traffic["rates"], stages, traffic["seed"]),
            "callers": tuple(Caller(**caller) for caller in facts["callers"]),
            "webhook_events": tuple(facts["webhook_events"]),
            "budget": Budget(**facts["budget"]),
        }
    )


def callers(keys: Sequence[tuple[str, float]]) -> tuple[Caller, ...]:
    """Callers from keys and weights."""
    return tuple(Caller(key=key, weight=weight) for key, weight in keys)
