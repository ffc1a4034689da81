"""Our verdict beside Locust's own number and a wrk2-style repair of it, on a stall that is known.

`nox -s load -- --compare`: one server that stands still once, loaded at the same time by users who
wait for each answer (Locust as it is mostly used) and by our open loop. What every request should
have met is known from the schedule and the stall. Leaves comparison.json, and a table.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from load import gate, instrument, locust_run, results, samples, stalling_server
from load.gate import Judged, Run
from load.instrument import Sighting
from load.locust_run import Processes
from load.plan import Budget, Plan
from load.plots import rounded
from load.samples import Recording
from load.schedule import Stage, Traffic, arrivals
from load.subject import SubjectError
from verification.contract.load import LoadTargets
from verification.harness.processes import Child, keeper

SECONDS: Final = 30.0
STALL_AT_S: Final = 12.0
STALL_FOR_S: Final = 3.0
RATE: Final = 50.0
USERS: Final = 10
PACE_S: Final = 0.1
"""What closed_loop.py paces its users by, and what the repair takes for its interval."""
TARGET: Final = "health.answered"
FILE: Final = "comparison.json"
CLOSED_LOOP: Final = Path(__file__).with_name("closed_loop.py")
ENDS_WITHIN_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Row:
    """One way to state the same server's P99; seconds, and what it says about the target."""

    way: str
    requests: int
    p99_s: float
    interval_s: tuple[float | None, float | None] | None
    max_s: float
    says: str


def corrected(times: Iterable[float], interval_s: float) -> list[float]:
    """wrk2's repair of closed-loop times: for each long one, those that were not sent.

    A request that took longer than the interval kept its user from sending the next ones, which
    would have waited one interval less each. Source: HdrHistogram, recordValueWithExpectedInterval.
    """
    repaired: list[float] = []
    for took_s in times:
        missing_s = took_s
        while missing_s > 0:
            repaired.append(missing_s)
            missing_s -= interval_s
            if missing_s < interval_s:
                break
    return repaired


def truth(due_s: Iterable[float], began_s: float, ended_s: float) -> list[float]:
    """What each request due then has to wait, whoever sends it."""
    return [ended_s - at_s if began_s <= at_s < ended_s else 0.0 for at_s in due_s]


def compare(targets: LoadTargets) -> list[Row]:
    """Run both loads against one stall and give the table. Raises SubjectError, ChildError."""
    folder = Path(tempfile.mkdtemp(prefix="llmhive-compare-"))
    keeper().remove_at_end(folder)
    try:
        return _compared(targets, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compared(targets: LoadTargets, folder: Path) -> list[Row]:
    server = _server(folder)
    url = f"http://127.0.0.1:{server.announced('listening')['listening']}"
    plan = _plan(folder)
    closed = _closed_loop(url, folder)
    ours = locust_run.start(plan, url, Processes(), private=folder, reports=folder / "open")
    for child in (closed, ours):
        if child.wait(ENDS_WITHIN_S) is None:
            child.kill()
            raise SubjectError(f"{child.name} did not end in time")
    stall = [server.announced(name)[name] for name in ("stall_began", "stall_ended")]
    recording = samples.read(Path(plan.folder))
    judged = _judged(plan, recording, targets)
    known = truth(
        (one.at_s for one in arrivals(plan.traffic)), *(at - _start(recording) for at in stall)
    )
    times: list[float] = json.loads((folder / "closed.json").read_text("utf-8"))
    within_s = next(one.within_s for one in targets.latency if one.id == TARGET)
    told = [
        _row("what every request met (schedule and stall)", known, within_s),
        _row("closed loop, raw", times, within_s),
        _locust("closed loop, Locust's own table", folder / "closed", within_s),
        _row("closed loop, corrected as wrk2 does", corrected(times, PACE_S), within_s),
        _locust("open loop, Locust's own table", folder / "open" / "locust", within_s),
    ]
    return [*told, _ours(judged)]


def _server(folder: Path) -> Child:
    options = ["--stall-at", str(STALL_AT_S), "--stall-for", str(STALL_FOR_S)]
    return keeper().start(
        [locust_run.locust_python(), stalling_server.__file__, *options],
        name="server",
        folder=folder,
        env={},
        lifetime_pipe=True,
    )


def _plan(folder: Path) -> Plan:
    return Plan(
        run_id="comparison",
        profile="comparison",
        traffic=Traffic({"health": RATE}, [Stage(SECONDS)], seed=1),
        warm_up_s=0.0,
        request_timeout_s=10.0,
        callers=(),
        budget=Budget(),
        folder=str(folder / "raw"),
    )


def _closed_loop(url: str, folder: Path) -> Child:
    own = folder / "closed"
    own.mkdir()
    return keeper().start(
        [
            locust_run.locust_python(),
            "-m",
            "locust",
            "-f",
            CLOSED_LOOP,
            "--headless",
            "--only-summary",
            "--host",
            url,
            "--users",
            str(USERS),
            "--spawn-rate",
            str(USERS),
            "--run-time",
            f"{SECONDS:.0f}s",
            "--json-file",
            own / "locust",
        ],
        name="closed-loop",
        folder=folder,
        env={"LLMHIVE_CLOSED_TIMES": str(folder / "closed.json")},
    )


def _start(recording: Recording) -> float:
    """The wall clock at the start of our schedule, which the server's stall is told by."""
    return next(one.begin.started for one in recording.generators.values() if one.begin)


def _judged(plan: Plan, recording: Recording, targets: LoadTargets) -> Judged:
    run = Run(traffic=plan.traffic, warm_up_s=0.0, recording=recording, sighting=Sighting())
    return next(one for one in gate.judge(run, targets).judged if one.target.id == TARGET)


def _row(way: str, times: Sequence[float], within_s: float) -> Row:
    ordered = sorted(times)
    p99_s = instrument.percentile(ordered, gate.QUANTILE) or math.nan
    return Row(way, len(ordered), p99_s, None, ordered[-1], _says(p99_s, within_s))


def _locust(way: str, folder: Path, within_s: float) -> Row:
    rows: list[dict[str, Any]] = json.loads((folder / "locust.json").read_text("utf-8"))
    p99_s = results.percentile_of(rows[0]["response_times"], gate.QUANTILE) / 1000
    most_s = rows[0]["max_response_time"] / 1000
    return Row(way, rows[0]["num_requests"], p99_s, None, most_s, _says(p99_s, within_s))


def _says(p99_s: float, within_s: float) -> str:
    return "held" if p99_s <= within_s else "missed"


def _ours(judged: Judged) -> Row:
    spread = judged.spread
    interval = (spread.p99_low_s, spread.p99_high_s)
    word = results.word(judged)
    says = f"{word}: {judged.verdict.first}"
    p99_s, max_s = spread.p99_s or math.nan, spread.max_s or math.nan
    return Row("open loop, our gate", judged.tally.n, p99_s, interval, max_s, says)


def table(rows: Sequence[Row]) -> str:
    """The rows as a table in Markdown."""
    lines = [
        f"One server, one stall of {STALL_FOR_S:g} s in {SECONDS:g} s; target: P99 within 1 s.",
        "",
        "| way | requests | P99 | 95 % interval | slowest | P99 within 1 s? |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        between = " to ".join(rounded(one) for one in row.interval_s) if row.interval_s else ""
        numbers = f"{row.requests} | {rounded(row.p99_s)} | {between} | {rounded(row.max_s)}"
        lines.append(f"| {row.way} | {numbers} | {row.says} |")
    return "\n".join(lines)


def write(rows: Sequence[Row], reports: Path) -> None:
    """Leave comparison.json."""
    reports.mkdir(parents=True, exist_ok=True)
    facts = {"schema": "llmhive/load-comparison/1", "rows": [asdict(row) for row in rows]}
    (reports / FILE).write_text(json.dumps(facts, indent=1), "utf-8")
