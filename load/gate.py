"""The gate: from what was seen to pass, fail or unknown, for each target and for the run.

Counts the late requests and bounds their true share exactly (Clopper and Pearson): pass if it is
at most the target's with 95 % confidence, fail if it is above with 95 %, unknown otherwise, and
whenever the instrument was not well. What could fool it: requests that hang together, as in one
stall, say less than their number, so a pass must also hold for the effective number of samples.
A fail needs no such correction: that so many were late is a fact of this run. Pure.
Source: DESIGN section 9.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from load import binomial, instrument, measures
from load.instrument import Health, Sighting
from load.measures import Fate, Lens, Mark
from load.samples import Recording
from load.schedule import Arrival, Traffic, arrivals
from verification.contract.load import (
    ADDED,
    ANSWERED,
    ErrorTarget,
    LatencyTarget,
    LoadTargets,
)
from verification.verdict import Verdict, unknown

Target = LatencyTarget | ErrorTarget

# Time is cut into this many blocks to see whether late requests come in heaps.
BLOCKS = 20
QUANTILE = 0.99
SAID = {"late": "are late", "failed": "failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many requests of a target met which fate, and how many the service plainly refused."""

    n: int
    late: int
    unsure: int
    answered_errors: int
    effect: float = 1.0
    """How many requests say as much as one independent one, as far as the late ones show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The distribution of one measure: quantiles, and the exact 95 % interval of the P99.

    Infinite is a request that never came to a good end. None is not stated: nothing measured,
    or no sample is surely beyond the P99.
    """

    p50_s: float | None = None
    p90_s: float | None = None
    p99_s: float | None = None
    p99_low_s: float | None = None
    p99_high_s: float | None = None
    max_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One target's verdict with its numbers. `unverified` says for want of what there is none."""

    target: Target
    verdict: Verdict
    tally: Tally
    share: tuple[float, float]
    """The exact 95 % interval of the share of late (or failed) requests."""
    spread: Spread = field(default_factory=Spread)
    unverified: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run was to do, and what was seen of it."""

    traffic: Traffic
    warm_up_s: float
    recording: Recording
    sighting: Sighting = field(default_factory=Sighting)
    provider_s: Mapping[int, float] | None = None
    """Request -> what its provider took; None when nobody can read the provider's journal."""
    crowd: Sequence[tuple[float, float]] = ()
    """When the machine that service and generator share was full of others' work."""
    trouble: str | None = None
    """What went wrong with the instrument from outside: Locust ended badly, or was killed."""

    def every(self) -> list[Arrival]:
        """All requests of the schedule, without those that a stop left out."""
        return measures.wanted(arrivals(self.traffic), self.recording)

    def due(self) -> list[Arrival]:
        """The requests that count: those due after the warm-up."""
        return [one for one in self.every() if one.at_s >= self.warm_up_s]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the gate says of a run."""

    judged: tuple[Judged, ...]
    health: Health


def judge(run: Run, targets: LoadTargets) -> Judgement:
    """Judge a run by every target that its traffic touches."""
    due = run.due()
    health = instrument.examine(
        due, run.recording, run.sighting, targets.instrument, since_s=run.warm_up_s
    )
    every: tuple[Target, ...] = (*targets.latency, *targets.errors)
    judged = tuple(_judge_one(run, target, due, health, targets) for target in every)
    return Judgement(judged=judged, health=health)


def _judge_one(
    run: Run, target: Target, due: Sequence[Arrival], health: Health, targets: LoadTargets
) -> Judged:
    if not any(run.traffic.rates.get(kind) for kind in target.kinds):
        return _unverified(target, "requests of this kind, which were not sent")
    if lens(target, run).measure == ADDED and run.provider_s is None:
        return _unverified(target, "the provider's journal, which cannot be read here")
    seen = list(measures.marks(due, run.recording, lens(target, run), target.kinds))
    problems = [*([run.trouble] if run.trouble else []), *health.problems]
    if isinstance(target, LatencyTarget):
        ill = instrument.control_problem(health, target.within_s, targets.instrument)
        problems += [ill] if ill else []
    return judge_target(target, seen, problems, halted=run.recording.stopped)


def lens(target: Target, run: Run) -> Lens:
    """How a run's requests are seen through a target."""
    if isinstance(target, LatencyTarget):
        return Lens(target.measure, target.within_s, run.provider_s, run.crowd)
    return Lens(ANSWERED, float("inf"))


def _unverified(target: Target, want: str) -> Judged:
    nothing = Tally(n=0, late=0, unsure=0, answered_errors=0)
    verdict = unknown(target.text, want)
    return Judged(target=target, verdict=verdict, tally=nothing, share=(0, 1), unverified=want)


def judge_target(
    target: Target,
    seen: Sequence[Mark],
    problems: Sequence[str] = (),
    *,
    halted: str | None = None,
) -> Judged:
    """One target by its marks; `problems` are the instrument's, `halted` why the run is short."""
    allowed, tally = share_allowed(target), count(seen)
    what = "late" if isinstance(target, LatencyTarget) else "failed"
    return Judged(
        target=target,
        verdict=decide(target.text, tally, allowed, problems, halted=halted, what=what),
        tally=tally,
        share=binomial.interval(tally.late, tally.n) if tally.n else (0.0, 1.0),
        spread=spread(one.seconds for one in seen),
    )


def share_allowed(target: Target) -> float:
    """The share of requests that may be late, or fail."""
    if isinstance(target, LatencyTarget):
        return target.share_late_max
    return target.share_failed_max


def count(seen: Sequence[Mark]) -> Tally:
    """The fates of many requests, and how far the late ones come in heaps."""
    plain = Tally(
        n=len(seen),
        late=sum(one.fate is Fate.LATE for one in seen),
        unsure=sum(one.fate is Fate.UNSURE for one in seen),
        answered_errors=sum(one.is_answered_error for one in seen),
    )
    return replace(plain, effect=design_effect(seen))


def decide(
    claim: str,
    tally: Tally,
    allowed: float,
    problems: Sequence[str] = (),
    *,
    halted: str | None = None,
    what: str = "late",
) -> Verdict:
    """True, false or unknown: at most the share `allowed` of all requests is late (or failed).

    A run that was halted can be false, since what it saw is enough for that; never true.
    """
    counts = {"requests": tally.n, what: tally.late, "unsure": tally.unsure}
    if not tally.n:
        return unknown(claim, "nothing was measured", **counts)
    # A sick instrument can make requests late, but it cannot make the service say no.
    proven = tally.answered_errors if problems else tally.late
    least = binomial.lower_bound(proven, tally.n)
    if least > allowed:
        why = f"surely {least:.2%} or more {SAID[what]}, at most {allowed:.2%} expected"
        return Verdict(False, claim, counts, why)
    if problems or halted:
        short = [f"the run was stopped: {halted}"] if halted else []
        return unknown(claim, "; ".join([*problems, *short]), **counts)
    needed = binomial.samples_needed(allowed)
    if tally.n < needed:
        return unknown(claim, f"{tally.n} requests are too few, {needed} needed", **counts)
    suspected = tally.late + tally.unsure
    most = binomial.upper_bound(suspected / tally.effect, tally.n / tally.effect)
    if most <= allowed:
        return Verdict(True, claim, counts, f"surely {most:.2%} or fewer {SAID[what]}")
    return unknown(claim, _undecided(tally, least, most, allowed, what), **counts)


def _undecided(tally: Tally, least: float, most: float, allowed: float, what: str) -> str:
    heaps = f" (they come in heaps of {tally.effect:.0f})" if tally.effect > 1.5 else ""  # noqa: PLR2004  worth a word
    told = f"between {least:.2%} and {most:.2%} {SAID[what]}{heaps}, at most {allowed:.2%} expected"
    if tally.unsure:
        return f"{told}; {tally.unsure} are unsure, the machine's or the generator's doing"
    return f"{told}: a longer run decides"


def design_effect(seen: Sequence[Mark]) -> float:
    """How much the late requests come in heaps: 1 when they are spread as by chance, or more.

    Compares how the share of late ones varies between blocks of time with how it would vary if
    each were late by itself. Source: Kish (1965), Survey Sampling, 5.3.
    """
    suspected = sum(one.fate is not Fate.HELD for one in seen)
    if suspected in {0, len(seen)}:
        return 1.0
    begins_s, ends_s = min(one.at_s for one in seen), max(one.at_s for one in seen)
    width_s = (ends_s - begins_s) / BLOCKS or 1.0
    totals, lates = [0] * BLOCKS, [0] * BLOCKS
    for one in seen:
        block = min(BLOCKS - 1, int((one.at_s - begins_s) / width_s))
        totals[block] += 1
        lates[block] += one.fate is not Fate.HELD
    share = suspected / len(seen)
    residues = (
        (late - share * total) ** 2 for late, total in zip(lates, totals, strict=True) if total
    )
    by_chance = len(seen) * share * (1 - share)
    return max(1.0, sum(residues) * BLOCKS / (BLOCKS - 1) / by_chance)


def spread(seconds: Iterable[float]) -> Spread:
    """The distribution of what was measured, its P99 with an exact interval."""
    ordered = sorted(one for one in seconds if not math.isnan(one))
    if not ordered:
        return Spread()
    low, high = binomial.ranks(len(ordered), QUANTILE)
    return Spread(
        p50_s=instrument.percentile(ordered, 0.5),
        p90_s=instrument.percentile(ordered, 0.9),
        p99_s=instrument.percentile(ordered, QUANTILE),
        p99_low_s=ordered[low - 1] if low else None,
        p99_high_s=ordered[high - 1] if high is not None else None,
        max_s=ordered[-1],
    )


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a run can tell about a target before it starts."""

    target: Target
    expected: float
    """Requests on average."""
    needed: int
    late_allowed: int
    """How many may be late with a pass still possible; -1 when none is."""
    seconds_needed: float
    """How long after the warm-up until a pass is possible."""


def outlook(target: Target, traffic: Traffic, warm_up_s: float) -> Outlook | None:
    """What a run can tell, from its schedule alone; None when it sends none of these requests."""
    allowed = share_allowed(target)
    expected = traffic.expected(target.kinds, after_s=warm_up_s)
    if not expected:
        return None
    length_s = traffic.duration_s - warm_up_s
    needed = binomial.samples_needed(allowed)
    return Outlook(
        target=target,
        expected=expected,
        needed=needed,
        late_allowed=binomial.late_allowed(int(expected), allowed),
        seconds_needed=needed * length_s / expected,
    )
