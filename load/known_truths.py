"""Runs whose truth is known, for the gate's tests: distributions, and a server that stalls.

A healthy instrument is the default; each test spoils one thing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

from load.instrument import Sighting
from load.kept import Kept
from load.measures import Fate, Mark
from load.samples import Beat, Begin, End, Line, Outcome, Ping, Recorder, Recording, Sample
from load.schedule import Arrival, Stage, Traffic, arrivals

WALL_S = 1_700_000_000.0
SERVED_BY = "vfy-1/host-7"


@dataclass(frozen=True, slots=True)
class Distribution:
    """A latency distribution that can be drawn from, known exactly.

    `beyond` gives the share of requests that take longer than so many seconds.
    """

    name: str
    p99_s: float
    draw: Callable[[random.Random], float]
    beyond: Callable[[float], float]


def lognormal(p99_s: float, sigma: float = 0.8) -> Distribution:
    """The usual shape of latencies."""
    mu = math.log(p99_s) - sigma * NormalDist().inv_cdf(0.99)
    return Distribution(
        "lognormal",
        p99_s,
        lambda dice: math.exp(dice.gauss(mu, sigma)),
        lambda seconds: 1 - NormalDist(mu, sigma).cdf(math.log(seconds)),
    )


def bimodal(p99_s: float, slow_share: float = 0.02) -> Distribution:
    """Quick answers, and a few slow ones (a miss, a retry) with the P99 in their middle.

    Exact for shares beyond a half of the P99, where only slow ones are left.
    """

    def draw(dice: random.Random) -> float:
        if dice.random() < slow_share:
            return dice.uniform(0.5, 1.5) * p99_s
        return dice.uniform(0.01, 0.05) * p99_s

    return Distribution(
        "bimodal", p99_s, draw, lambda seconds: slow_share * min(1.0, 1.5 - seconds / p99_s)
    )


def heavy_tail(p99_s: float, alpha: float = 1.5) -> Distribution:
    """Pareto: the variance is infinite, so nothing that averages can judge it."""
    least = p99_s * 0.01 ** (1 / alpha)
    return Distribution(
        "heavy tail",
        p99_s,
        lambda dice: least * dice.paretovariate(alpha),
        lambda seconds: (least / seconds) ** alpha,
    )


def marks_of(distribution: Distribution, within_s: float, n: int, seed: int) -> list[Mark]:
    """Requests of that distribution against a target, evenly spaced."""
    dice = random.Random(seed)
    drawn = [distribution.draw(dice) for _ in range(n)]
    return [
        Mark(at_s, Fate.HELD if seconds <= within_s else Fate.LATE, seconds)
        for at_s, seconds in enumerate(drawn)
    ]


Answer = Callable[[Arrival], Sample]


def traffic(seconds: float = 65.0, seed: int = 1, **rates: float) -> Traffic:
    """Steady traffic; 20 health requests a second unless said otherwise."""
    return Traffic(rates or {"health": 20.0}, [Stage(seconds)], seed)


def answered(arrival: Arrival, took_s: float = 0.01, *, lag_s: float = 0.0) -> Sample:
    """A request that was sent `lag_s` late and then answered well."""
    sent_s = arrival.at_s + lag_s
    return Sample(
        index=arrival.index,
        kind=arrival.kind,
        intended_s=arrival.at_s,
        outcome=Outcome.OK,
        sent_s=sent_s,
        first_s=sent_s + took_s / 2,
        done_s=sent_s + took_s,
        status=200,
        served_by=SERVED_BY,
    )


def failed(
    arrival: Arrival, error: str, status: int | None = None, took_s: float = 0.002
) -> Sample:
    """A request that went wrong, quickly."""
    return Sample(
        index=arrival.index,
        kind=arrival.kind,
        intended_s=arrival.at_s,
        outcome=Outcome.FAILED,
        sent_s=arrival.at_s,
        done_s=arrival.at_s + took_s,
        status=status,
        error=error,
    )


def recorded(
    wanted: Traffic,
    answer: Answer,
    *,
    beats: Iterable[Beat] | None = None,
    pings: Iterable[Ping] | None = None,
    end: End | None = None,
) -> Recording:
    """What one healthy generator would have written; each part can be replaced."""
    every = list(arrivals(wanted))
    over_s = wanted.duration_s + 5.0
    recording = Recording()
    lines: list[Line] = [
        Begin(number=0, of=1, plan="p", started=WALL_S),
        *(answer(arrival) for arrival in every),
        *(steady_beats(over_s) if beats is None else beats),
        *(steady_pings(over_s) if pings is None else pings),
        end or End(at_s=over_s, requests=len(every)),
    ]
    recording.add("generator-0", lines)
    return recording


def without_end(recording: Recording) -> Recording:
    """The same recording as a killed generator leaves it."""
    for one in recording.generators.values():
        one.end = None
    return recording


def steady_beats(until_s: float, cpu_share: float = 0.2) -> list[Beat]:
    """A pulse four times a second, both clocks in step."""
    times = [number / 4 for number in range(int(until_s * 4))]
    return [
        Beat(at_s=at_s, wall_s=WALL_S + at_s, cpu_s=at_s * cpu_share, late_s=0.001)
        for at_s in times
    ]


def steady_pings(until_s: float, took_s: float = 0.0004) -> list[Ping]:
    """A control ping ten times a second."""
    return [Ping(at_s=number / 10, took_s=took_s) for number in range(int(until_s * 10))]


@dataclass(slots=True)
class StallingServer:
    """Answers each request `serves_s` after it came, but nothing from `from_s` for `for_s`.

    What comes during the stall is answered when it is over: known to the request.
    """

    from_s: float
    for_s: float
    serves_s: float = 0.002

    def __call__(self, arrival: Arrival) -> Sample:
        begins_s = arrival.at_s
        if self.from_s <= begins_s < self.from_s + self.for_s:
            begins_s = self.from_s + self.for_s
        return answered(arrival, begins_s + self.serves_s - arrival.at_s)

    def late(self, wanted: Traffic, within_s: float, after_s: float = 0.0) -> int:
        """How many requests due after `after_s` take longer than `within_s`."""
        ends_s = self.from_s + self.for_s - (within_s - self.serves_s)
        return sum(max(self.from_s, after_s) <= one.at_s < ends_s for one in arrivals(wanted))


BEFORE = {"instance": "vfy-1", "version": "<1>", "environment": "staging"}
WARM_UP_S = 5.0


def kept_run(wanted: Traffic, **more: Any) -> Kept:
    """What a run of that traffic would have kept; each part can be replaced."""
    plan = {"traffic": asdict(wanted), "warm_up_s": WARM_UP_S}
    facts: dict[str, Any] = {
        "plan": plan,
        "profile": "test",
        "sighting": Sighting(before=BEFORE, after=BEFORE),
        "facts": {"stack": "a test", "users": "2 of tier <pro>"},
        "machine": {"id": "m"},
        "started": "2026-11-26T10:00:00+00:00",
        "finished": "2026-11-26T10:01:00+00:00",
        "digest": "d",
    }
    return Kept(**facts | more)


def write_run(folder: Path, wanted: Traffic, answer: Answer, **more: Any) -> None:
    """Leave a run in a folder, as `nox -s load` would have left it."""
    recording = recorded(wanted, answer)
    kept_run(wanted, provider_s=dict.fromkeys(recording.samples, 0.0), **more).write(folder)
    recorder = Recorder(folder / "raw", "generator-0")
    (one,) = recording.generators.values()
    lines: list[Line | None] = [
        one.begin,
        *recording.samples.values(),
        *one.beats,
        *one.pings,
        one.end,
    ]
    for line in lines:
        if line is not None:
            recorder.add(line)
    recorder.close()
