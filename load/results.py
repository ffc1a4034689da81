"""results.json: what a run said, for machines, for the next run's baseline, and for the page."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from load import baseline, gate, measures
from load.gate import Judged, Judgement, Run, Target, share_allowed
from load.kept import Kept
from load.measures import Mark
from load.samples import Outcome, Recording
from verification.contract.load import LatencyTarget, LoadTargets
from verification.harness.claim_verdict import ClaimVerdict
from verification.harness.readiness import RunVerdict
from verification.verdict import Verdict

FILE: Final = "results.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One target against an earlier run."""

    id: str
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A judged run."""

    kept: Kept
    recording: Recording
    run: Run
    judgement: Judgement
    compared: tuple[Compared, ...] = ()
    against: str = ""
    """The earlier results.json, when there is one."""
    locust: Mapping[str, float] = field(default_factory=dict)
    """Locust's own P99 by name in seconds: beside ours, never instead."""

    @property
    def verdict(self) -> RunVerdict:
        """Fail if a target or a comparison is false, else unknown if one is, else pass.

        Nothing shown is unknown, too.
        """
        found = {word(one) for one in self.judgement.judged}
        found |= {_WORDS[one.verdict.valid] for one in self.compared}
        if ClaimVerdict.FALSE in found or self.kept.foreign:
            return RunVerdict.FAIL
        if ClaimVerdict.UNKNOWN in found or ClaimVerdict.TRUE not in found:
            return RunVerdict.UNKNOWN
        return RunVerdict.PASS

    @property
    def headline(self) -> str:
        """The one line that says it all."""
        judged = self.judgement.judged
        held = sum(word(one) is ClaimVerdict.TRUE for one in judged)
        troubles = [(one.target.id, one.verdict) for one in judged if is_bad(one)]
        troubles += [(one.id, one.verdict) for one in self.compared if not one.verdict.valid]
        troubles.sort(key=lambda trouble: trouble[1].valid is None)  # what is false comes first
        why = f"; {troubles[0][0]}: {troubles[0][1].first}" if troubles else ""
        why = f"; {self.kept.foreign}" if self.kept.foreign else why
        return f"{self.verdict}: {held} of {len(judged)} targets held under load{why}"


_WORDS: Final = {
    True: ClaimVerdict.TRUE,
    False: ClaimVerdict.FALSE,
    None: ClaimVerdict.UNKNOWN,
}


def word(judged: Judged) -> ClaimVerdict:
    """A target's verdict as every report of the suite says it."""
    return ClaimVerdict.UNVERIFIED if judged.unverified else _WORDS[judged.verdict.valid]


def is_bad(judged: Judged) -> bool:
    """False or unknown: to be said first."""
    return word(judged) in {ClaimVerdict.FALSE, ClaimVerdict.UNKNOWN}


def compare(
    results: Judgement, run: Run, earlier: Mapping[str, Any], targets: LoadTargets
) -> tuple[Compared, ...]:
    """Every latency target that both runs measured, against the earlier run."""
    references = baseline.references(earlier)
    pings = [ping.took_s for ping in run.recording.pings if ping.at_s >= run.warm_up_s]
    control = baseline.compare("control", pings, references.get("control"), targets.baseline)
    excuse = "the machine itself was slower" if control.valid is False else None
    length_s = run.traffic.duration_s - run.warm_up_s
    if crowded_s(run) > targets.baseline.crowded_share_max * length_s:
        excuse = "others filled the machine"
    found = []
    for one in results.judged:
        target = one.target
        if one.unverified or not isinstance(target, LatencyTarget):
            continue
        every = [mark.seconds for mark in marks_of(run, target)]
        seconds = [one for one in every if not math.isnan(one)]
        verdict = baseline.compare(
            f"{target.id} is not slower than before",
            seconds,
            references.get(target.id),
            targets.baseline,
            excuse=excuse,
        )
        found.append(Compared(id=target.id, verdict=verdict))
    return tuple(found)


def marks_of(run: Run, target: LatencyTarget) -> list[Mark]:
    """A run's requests against one target."""
    return list(measures.marks(run.due(), run.recording, gate.lens(target, run), target.kinds))


def document(results: Results) -> dict[str, Any]:
    """results.json as plain values; infinite times are null, and counted as late."""
    kept, health = results.kept, results.judgement.health
    pings = [one for one in results.recording.pings if one.at_s >= results.run.warm_up_s]
    return {
        "schema": baseline.SCHEMA,
        "verdict": str(results.verdict),
        "headline": results.headline,
        "profile": kept.profile,
        "digest": kept.digest,
        "seed": kept.traffic.seed,
        "started": kept.started,
        "finished": kept.finished,
        "machine": kept.machine,
        "target": {**kept.facts, **kept.sighting.before},
        "lacking": list(kept.lacking),
        "claims": [_claim(one) for one in results.judgement.judged],
        "baseline": {
            "against": results.against,
            "compared": [_compared(one) for one in results.compared],
        },
        "arrivals": {
            "due": health.due,
            "attempted": health.attempted,
            **{str(kind): count for kind, count in _outcomes(results).items()},
        },
        "errors": errors(results.recording),
        "stopped": results.recording.stopped,
        "faults": list(kept.faults),
        "instrument": {
            "crowded_s": round(crowded_s(results.run), 1),
            "lag_p99_s": health.lag_p99_s,
            "lag_max_s": health.lag_max_s,
            "cpu_share_max": health.cpu_share_max,
            "control": {
                "n": len(pings),
                "p99_s": health.control_p99_s,
                "max_s": health.control_max_s,
            },
            "problems": list(health.problems),
            "trouble": kept.trouble,
        },
        "cost": cost_of(results),
        "locust_p99_s": dict(results.locust),
    }


def cost_of(results: Results) -> dict[str, dict[str, float]]:
    """What each request cost: the target's processes where they are ours, and the generator's."""
    beats = [one.beats for one in results.recording.generators.values() if one.beats]
    cpu_s = sum(many[-1].cpu_s - many[0].cpu_s for many in beats)
    sent = sum(one.sent_s is not None for one in results.recording.samples.values())
    own = {"cpu_ms_per_request": round(1000 * cpu_s / sent, 3)} if sent else {}
    return {**results.kept.cost, "generator": own}


def crowded_s(run: Run) -> float:
    """For how long, after the warm-up, the machine was full of others' work."""
    return sum(
        max(0.0, min(until_s, run.traffic.duration_s) - max(from_s, run.warm_up_s))
        for from_s, until_s in run.crowd
    )


def _outcomes(results: Results) -> dict[str, int]:
    known = [results.recording.samples.get(one.index) for one in results.run.due()]
    found: dict[str, int] = {str(outcome): 0 for outcome in Outcome} | {"lost": 0}
    for sample in known:
        found[str(sample.outcome) if sample else "lost"] += 1
    return found


def errors(recording: Recording) -> dict[str, int]:
    """How many requests of the whole run failed how."""
    found = Counter(one.error or "?" for one in recording.samples.values() if one.error)
    return dict(found.most_common())


def _claim(one: Judged) -> dict[str, Any]:
    target, spread = one.target, one.spread
    facts: dict[str, Any] = {
        "id": target.id,
        "claim": target.text,
        "source": target.source,
        "verdict": str(word(one)),
        "why": one.unverified or one.verdict.first or "",
        "measure": target.measure if isinstance(target, LatencyTarget) else "errors",
        "within_s": target.within_s if isinstance(target, LatencyTarget) else None,
        "share_allowed": share_allowed(target),
        "n": one.tally.n,
        "late": one.tally.late,
        "unsure": one.tally.unsure,
        "design_effect": round(one.tally.effect, 3),
        "share_interval": list(one.share),
    }
    if isinstance(target, LatencyTarget):
        facts |= {
            "p50_s": finite(spread.p50_s),
            "p90_s": finite(spread.p90_s),
            "p99_s": finite(spread.p99_s),
            "p99_interval_s": [finite(spread.p99_low_s), finite(spread.p99_high_s)],
            "max_s": finite(spread.max_s),
        }
    return facts


def _compared(one: Compared) -> dict[str, Any]:
    return {
        "id": one.id,
        "verdict": str(_WORDS[one.verdict.valid]),
        "why": one.verdict.first or "",
    }


def finite(seconds: float | None) -> float | None:
    """A number that JSON knows."""
    return None if seconds is None or math.isinf(seconds) else round(seconds, 6)


def locust_p99(folder: Path) -> dict[str, float]:
    """Locust's own P99 by name, as its table shows it, in seconds; {} when it left none."""
    try:
        rows = json.loads((folder / "locust.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {row["name"]: percentile_of(row["response_times"], 0.99) / 1000 for row in rows}


def percentile_of(buckets: Mapping[str, int], share: float) -> float:
    """A percentile the way Locust takes it from its rounded buckets."""
    total = sum(buckets.values())
    left = int(total * share)
    processed = 0
    for bucket in sorted(buckets, key=float, reverse=True):
        processed += buckets[bucket]
        if total - processed <= left:
            return float(bucket)
    return 0.0


def write(results: Results, reports: Path) -> None:
    """Write results.json."""
    (reports / FILE).write_text(json.dumps(document(results), indent=1), "utf-8")


def targets_of(results: Results) -> Sequence[Target]:
    """The targets in their order."""
    return [one.target for one in results.judgement.judged]
