"""What is kept of a run beside its samples, so that it can be judged again: run.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from load import samples
from load.gate import Run
from load.instrument import Sighting
from load.samples import Recording
from load.schedule import Stage, Traffic

SCHEMA: Final = "llmhive/load-run/1"
FILE: Final = "run.json"


class KeptError(ValueError):
    """A folder that holds no run that can be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A run's plan without its secrets, and what was seen around it."""

    plan: dict[str, Any]
    profile: str
    sighting: Sighting
    facts: dict[str, str]
    machine: dict[str, str]
    started: str
    finished: str
    digest: str
    provider_s: dict[int, float] | None = None
    journal_dropped: int = 0
    faults: tuple[dict[str, Any], ...] = ()
    lacking: tuple[str, ...] = ()
    crowd: tuple[tuple[float, float], ...] = ()
    """When the machine was full of others' work, in seconds after the start of the schedule."""
    cost: dict[str, dict[str, float]] = field(default_factory=dict)
    """Process -> what each request cost it, and its memory at the end."""
    trouble: str | None = None
    """What went wrong with the instrument, or that nothing answered."""
    foreign: str | None = None
    """What answers instead of the service: it keeps no promise of ours."""

    @property
    def traffic(self) -> Traffic:
        """What was to be sent."""
        told = self.plan["traffic"]
        return Traffic(told["rates"], [Stage(**one) for one in told["stages"]], told["seed"])

    def as_run(self, recording: Recording) -> Run:
        """This run as the gate judges it."""
        return Run(
            traffic=self.traffic,
            warm_up_s=self.plan["warm_up_s"],
            recording=recording,
            sighting=self.sighting,
            provider_s=self.provider_s,
            crowd=self.crowd,
            trouble=self.trouble,
        )

    def write(self, reports: Path) -> None:
        """Keep it beside the samples."""
        facts = {"schema": SCHEMA, **asdict(self)}
        (reports / FILE).write_text(json.dumps(facts, indent=1), "utf-8")


def read(reports: Path, raw: str) -> tuple[Kept, Recording]:
    """The run of a folder and its samples. Raises KeptError, SampleError."""
    path = reports / FILE
    try:
        facts = json.loads(path.read_text("utf-8"))
        if facts.pop("schema") != SCHEMA:
            raise KeptError(f"{path}: expected {SCHEMA}")
        provider_s = facts["provider_s"]
        facts["provider_s"] = provider_s and {int(one): took for one, took in provider_s.items()}
        facts["sighting"] = Sighting(**facts["sighting"])
        facts["faults"], facts["lacking"] = tuple(facts["faults"]), tuple(facts["lacking"])
        facts["crowd"] = tuple((a, b) for a, b in facts["crowd"])
        kept = Kept(**facts)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise KeptError(f"{path}: expected what a load run kept: {error}") from error
    return kept, samples.read(reports / raw)
