"""Whether the instrument itself was well: a sick one says nothing, and never a pass.

Looks at what the generators wrote about themselves: lag, pulse, clocks, processor time, control
pings; and at the target: whether it is the same one at the end as at the beginning. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from load.samples import Beat, Generator, Outcome, Recording, Sample
from load.schedule import Arrival
from verification.contract.load import InstrumentBounds

# A processor's share is looked at over this long: shorter ones are full by chance.
CPU_OVER_S = 5.0
NOTHING_WRITTEN = "no generator wrote anything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What the target said of itself, before and after: instance, version, environment."""

    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The instrument's state: numbers for the report, and what is wrong with it."""

    due: int
    attempted: int
    lag_p99_s: float | None
    lag_max_s: float | None
    control_p99_s: float | None
    control_max_s: float | None
    cpu_share_max: float | None
    problems: tuple[str, ...]


def examine(
    due: Sequence[Arrival],
    recording: Recording,
    sighting: Sighting,
    bounds: InstrumentBounds,
    *,
    since_s: float = 0.0,
) -> Health:
    """The instrument's health over the measured part of a run, from `since_s` on."""
    recording = _since(recording, since_s)
    samples = [recording.samples[one.index] for one in due if one.index in recording.samples]
    lags = sorted(one.sent_s - one.intended_s for one in samples if one.sent_s is not None)
    pings = sorted(ping.took_s for ping in recording.pings)
    attempted = sum(one.sent_s is not None or one.outcome is Outcome.DROPPED for one in samples)
    cpu = max((_cpu_share(one.beats) for one in recording.generators.values()), default=0.0)
    problems = (
        [NOTHING_WRITTEN]
        if not recording.generators
        else [
            *_generators(recording, bounds),
            *_rate(len(due), attempted, bounds),
            *_lag(lags, bounds),
            *([] if pings else ["no control ping came back: the instrument was not watched"]),
            *_identity(sighting, samples),
        ]
    )
    if cpu >= bounds.cpu_share_max:
        problems.append(f"a generator used {cpu:.0%} of a core: it had none left to be on time")
    return Health(
        due=len(due),
        attempted=attempted,
        lag_p99_s=percentile(lags, 0.99),
        lag_max_s=lags[-1] if lags else None,
        control_p99_s=percentile(pings, 0.99),
        control_max_s=pings[-1] if pings else None,
        cpu_share_max=cpu,
        problems=tuple(problems),
    )


def _since(recording: Recording, since_s: float) -> Recording:
    """What the generators wrote of themselves after the warm-up, which may stumble."""
    generators = {
        name: replace(
            one,
            beats=[beat for beat in one.beats if beat.at_s >= since_s],
            pings=[ping for ping in one.pings if ping.at_s >= since_s],
        )
        for name, one in recording.generators.items()
    }
    return replace(recording, generators=generators)


def control_problem(health: Health, within_s: float, bounds: InstrumentBounds) -> str | None:
    """Why a target of this length cannot be judged on this machine; None when it can."""
    limit_s = within_s * bounds.control_share_max
    if health.control_p99_s is None or health.control_p99_s <= limit_s:
        return None
    return (
        f"the control ping beside the run took {health.control_p99_s:.3f} s at P99, "
        f"at most {limit_s:.3f} s expected: the machine was not free"
    )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The nearest rank of ordered values; None of none."""
    if not ordered:
        return None
    rank = math.ceil(round(len(ordered) * share, 9))  # 0.99 * 1000 is not always 990
    return ordered[max(0, rank - 1)]


def _generators(recording: Recording, bounds: InstrumentBounds) -> Iterator[str]:
    known = {one.begin.number: one.begin for one in recording.generators.values() if one.begin}
    of = {begin.of for begin in known.values()}
    if not known or of != {len(known)}:
        yield f"expected every share of the schedule to be sent, got {len(known)} of {of or 0}"
    if len({begin.plan for begin in known.values()}) > 1:
        yield "the generators followed different plans"
    for name, generator in sorted(recording.generators.items()):
        for problem in _generator(generator, bounds):
            yield f"{name}: {problem}"


def _generator(one: Generator, bounds: InstrumentBounds) -> Iterator[str]:
    if one.end is None:
        yield "ended without saying so: what it had in hand is lost"
    late_s = max((beat.late_s for beat in one.beats), default=0.0)
    if late_s > bounds.beat_late_s_max:
        yield f"stood still for {late_s:.1f} s: it saw nothing then"
    step_s = max((abs(step) for step in clock_steps(one.beats)), default=0.0)
    if step_s > bounds.clock_step_s_max:
        yield f"its clock jumped by {step_s:.1f} s"


def clock_steps(beats: Sequence[Beat]) -> list[float]:
    """By how much the wall clock went ahead of the monotonic one between two beats, each time."""
    return [(b.wall_s - a.wall_s) - (b.at_s - a.at_s) for a, b in pairwise(beats)]


def _cpu_share(beats: Sequence[Beat]) -> float:
    """The fullest share of a core over some seconds; 0 when the run was shorter."""
    fullest, start = 0.0, 0
    for beat in beats:
        while start + 1 < len(beats) and beat.at_s - beats[start + 1].at_s >= CPU_OVER_S:
            start += 1
        span_s = beat.at_s - beats[start].at_s
        if span_s >= CPU_OVER_S:
            fullest = max(fullest, (beat.cpu_s - beats[start].cpu_s) / span_s)
    return fullest


def _rate(due: int, attempted: int, bounds: InstrumentBounds) -> Iterator[str]:
    if due and attempted < bounds.rate_share_min * due:
        yield f"the rate was not reached: {attempted} of {due} due requests were attempted"


def _lag(lags: Sequence[float], bounds: InstrumentBounds) -> Iterator[str]:
    lag_s = percentile(lags, 0.99)
    if lag_s is not None and lag_s > bounds.lag_p99_s_max:
        yield (
            f"the generator lagged: {lag_s:.3f} s late at P99, "
            f"at most {bounds.lag_p99_s_max:.3f} s expected"
        )


def _identity(sighting: Sighting, samples: Sequence[Sample]) -> Iterator[str]:
    before, after = sighting.before, sighting.after
    if after is not None and dict(after) != dict(before):
        changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        yield f"the target changed during the run: {', '.join(changed)}"
    answered_by = {one.served_by.partition("/")[0] for one in samples if one.served_by}
    expected = {before["instance"]} if "instance" in before else set(sorted(answered_by)[:1])
    if strangers := answered_by - expected:
        yield f"answers came from another instance: {', '.join(sorted(strangers))}"
