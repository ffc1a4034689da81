"""report.html: a load run for people who were not there. One file, nothing fetched, no script."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jinja2

from load import gate, measures, plots
from load.gate import Judged
from load.outlook import duration
from load.plots import Band, Point, rounded
from load.results import Results, cost_of, crowded_s, errors, word
from load.results import is_bad as is_trouble
from load.samples import Outcome
from verification.contract.load import LatencyTarget
from verification.harness import report as suite_report
from verification.harness.claim_verdict import ClaimVerdict

TEMPLATE: Final = "report.html.j2"
FILE: Final = "report.html"
ORDER: Final = (
    ClaimVerdict.TRUE,
    ClaimVerdict.FALSE,
    ClaimVerdict.UNKNOWN,
    ClaimVerdict.UNVERIFIED,
)


def write(results: Results, reports: Path) -> None:
    """Write the page."""
    (reports / FILE).write_text(document(results), "utf-8")


def document(results: Results) -> str:
    """The page, complete in itself; it shares the style of the suite's report."""
    folders = [Path(__file__).parent, *map(Path, suite_report.__path__)]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(**_facts(results))


def _facts(results: Results) -> dict[str, Any]:
    kept, health = results.kept, results.judgement.health
    words = [word(one) for one in results.judgement.judged]
    problems = [*([kept.trouble] if kept.trouble else []), *health.problems]
    whole = results.recording.samples
    return {
        "results": results,
        "started": dt.datetime.fromisoformat(kept.started).strftime("%d %B %Y, %H:%M UTC"),
        "held": words.count(ClaimVerdict.TRUE),
        "counts": [(one, words.count(one)) for one in ORDER],
        "sentence": _sentence(results),
        "troubles": list(_troubles(results)),
        "targets": [_target(results, one) for one in results.judgement.judged],
        "faults": kept.faults,
        "instrument_numbers": _instrument_numbers(results),
        "problems": problems,
        "arrivals_plot": _arrivals(results),
        "has_drops": any(one.outcome == Outcome.DROPPED for one in whole.values()),
        "instrument_plot": _instrument(results),
        "errors": [
            (kind, count, 100 * count / len(whole))
            for kind, count in errors(results.recording).items()
        ],
        "locust": [(name, rounded(seconds)) for name, seconds in results.locust.items()],
        "cost": cost_of(results),
        "about": _about(results),
        "lacking": kept.lacking,
    }


def _sentence(results: Results) -> str:
    kept, health = results.kept, results.judgement.health
    traffic = kept.traffic
    mixed = ", ".join(f"{rate:g} {kind}" for kind, rate in sorted(traffic.rates.items()) if rate)
    stopped = f" It was stopped: {results.recording.stopped}." if results.recording.stopped else ""
    return (
        f"{health.due} requests counted, due at random moments at {mixed} a second for "
        f"{duration(traffic.duration_s)}, the first {duration(results.run.warm_up_s)} of them "
        f"warm-up; {kept.facts.get('users', 'users unknown')}.{stopped}"
    )


def _troubles(results: Results) -> Iterator[dict[str, str]]:
    for one in results.judgement.judged:
        if is_trouble(one):
            why = f"{one.target.id}: {one.verdict.first}"
            yield {"verdict": str(word(one)), "claim": one.target.text, "why": why}
    for other in results.compared:
        if other.verdict.valid is not True:
            yield {
                "verdict": other.verdict.word,
                "claim": other.verdict.claim,
                "why": str(other.verdict.first),
            }


def _target(results: Results, one: Judged) -> dict[str, Any]:
    target, compared = one.target, {each.id: each.verdict for each in results.compared}
    verdict = compared.get(target.id)
    facts: dict[str, Any] = {
        "id": target.id,
        "claim": target.text,
        "source": target.source,
        "verdict": str(word(one)),
        "unverified": one.unverified,
        "why": one.verdict.first or "",
        "numbers": list(_numbers(one)),
        "comparison": None if verdict is None else {"verdict": verdict.word, "why": verdict.first},
        "over_time": None,
    }
    if isinstance(target, LatencyTarget) and not one.unverified:
        facts |= _plots(results, target, one)
    return facts


def _numbers(one: Judged) -> Iterator[tuple[str, str]]:
    tally, (low, high) = one.tally, one.share
    is_latency = isinstance(one.target, LatencyTarget)
    yield "requests", str(tally.n)
    yield ("late" if is_latency else "failed"), str(tally.late)
    if tally.unsure:
        yield "unsure", str(tally.unsure)
    yield "share, 95 % interval", f"{low:.2%} to {high:.2%}"
    if is_latency:
        spread = one.spread
        yield "P50", rounded(spread.p50_s)
        yield "P90", rounded(spread.p90_s)
        yield "P99", rounded(spread.p99_s)
        yield "P99, 95 % interval", _interval(spread.p99_low_s, spread.p99_high_s)
        yield "slowest", rounded(spread.max_s)


def _interval(low_s: float | None, high_s: float | None) -> str:
    if low_s is None or math.isinf(low_s):
        return "not stated"
    if high_s is None or math.isinf(high_s):
        return f"{rounded(low_s)} and no upper end"
    return f"{rounded(low_s)} to {rounded(high_s)}"


def _plots(results: Results, target: LatencyTarget, one: Judged) -> dict[str, Any]:
    run, spread = results.run, one.spread
    lens = gate.lens(target, run)
    seen = list(measures.marks(run.every(), results.recording, lens, target.kinds))
    known = [mark for mark in seen if not math.isnan(mark.seconds)]
    points = [Point(mark.at_s, mark.seconds, str(mark.fate)) for mark in known]
    counted = [mark.seconds for mark in known if mark.at_s >= run.warm_up_s]
    return {
        "over_time": plots.latency_over_time(
            points, run.traffic.duration_s, target.within_s, spread.p99_s, _bands(results)
        ),
        "distribution": plots.distribution(
            counted, target.within_s, (spread.p99_low_s, spread.p99_s, spread.p99_high_s)
        ),
    }


def _bands(results: Results) -> list[Band]:
    over_s = results.run.traffic.duration_s
    bands = [Band(0.0, results.run.warm_up_s, "warm-up", "warm-up")]
    bands += [
        Band(fault["from_s"], fault.get("until_s", over_s), "fault", fault["what"])
        for fault in results.kept.faults
    ]
    bands += [Band(max(0.0, a), min(over_s, b), "crowd", "") for a, b in results.run.crowd]
    ends = [one.end for one in results.recording.generators.values() if one.end]
    stops = [end.stopped_s for end in ends if end.stopped]
    if stops:
        bands.append(Band(min(stops), over_s, "stop", "stopped"))
    return bands


def _instrument_numbers(results: Results) -> list[tuple[str, str]]:
    health = results.judgement.health
    cpu = health.cpu_share_max
    return [
        ("due and counted", str(health.due)),
        ("attempted", str(health.attempted)),
        ("late to leave, P99", rounded(health.lag_p99_s)),
        ("late to leave, worst", rounded(health.lag_max_s)),
        ("control ping, P99", rounded(health.control_p99_s)),
        ("control ping, worst", rounded(health.control_max_s)),
        ("of a core, at most", f"{cpu:.0%}" if cpu is not None else "none"),
        ("machine crowded", f"{crowded_s(results.run):.0f} s"),
        ("generators", str(len(results.recording.generators))),
    ]


def _arrivals(results: Results) -> str:
    every = list(results.recording.samples.values())
    due = [one.at_s for one in results.run.every()]
    sent = [one.sent_s for one in every if one.sent_s is not None]
    dropped = [one.intended_s for one in every if one.outcome is Outcome.DROPPED]
    return plots.arrivals(due, sent, dropped, results.run.traffic.duration_s)


def _instrument(results: Results) -> str:
    lags = [
        (one.intended_s, one.sent_s - one.intended_s)
        for one in results.recording.samples.values()
        if one.sent_s is not None
    ]
    pings = [(ping.at_s, ping.took_s) for ping in results.recording.pings]
    return plots.instrument(lags, pings, results.run.traffic.duration_s)


def _about(results: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    kept = results.kept
    run = [
        ("profile", kept.profile),
        ("seed", str(kept.traffic.seed)),
        ("schedule", kept.digest),
        ("started", kept.started),
        ("finished", kept.finished),
        ("against", results.against or "no earlier run"),
    ]
    target = [*kept.sighting.before.items(), *kept.facts.items()]
    return [("Target", target), ("Run", run), ("Generator's machine", [*kept.machine.items()])]
