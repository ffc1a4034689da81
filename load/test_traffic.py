"""Real Locust against a server whose stall is known: nothing is lost, nothing is flattered.

The generator runs as in a real run, in its own environment; only the target is a stand-in.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from load import gate, locust_run, samples, stalling_server
from load.gate import Judgement, Run
from load.instrument import Sighting
from load.locust_run import Processes
from load.plan import VARIABLE, Budget, Plan, callers
from load.samples import Recording
from load.schedule import Stage, Traffic, arrivals
from load.subject import SubjectError
from verification.contract.load import load_targets
from verification.harness.processes import Child, keeper
from verification.harness.stack.programs import ROOT
from verification.harness.stack.servers import reserved_port
from verification.harness.waiting import eventually, let_pass

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120)]
RATES: Final = {"chat": 15.0, "stream": 15.0, "health": 15.0, "webhook": 15.0}
RATES_SUM: Final = sum(RATES.values())
SIGHTING: Final = Sighting(before={"instance": "stall"}, after={"instance": "stall"})
# A start of Python, Locust and its workers on a busy machine.
ENDS_WITHIN_S: Final = 60.0

Serve = Callable[..., str]


@pytest.fixture(scope="session", autouse=True)
def _locust() -> None:
    try:
        locust_run.locust_python()
    except SubjectError as absent:
        pytest.skip(f"unverified: {absent}")


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Starts a stalling server and gives its address."""

    def start(*, stall_at_s: float = 0.0, stall_for_s: float = 0.0) -> str:
        options = ["--stall-at", str(stall_at_s), "--stall-for", str(stall_for_s)]
        child = keeper().start(
            [locust_run.locust_python(), stalling_server.__file__, *options],
            name="server",
            folder=tmp_path,
            env={},
            lifetime_pipe=True,
        )
        return f"http://127.0.0.1:{child.announced('listening')['listening']}"

    return start


def plan(folder: Path, seconds: float, **budget: object) -> Plan:
    return Plan(
        run_id="vfy-test",
        profile="test",
        traffic=Traffic(RATES, [Stage(seconds)], seed=5),
        warm_up_s=0.0,
        request_timeout_s=6.0,
        callers=callers([("key-1", 1.0), ("key-2", 1.0)]),
        budget=Budget(**budget),  # type: ignore[arg-type]  # a test names what it bounds
        folder=str(folder / "raw"),
        webhook_secret="whsec_test",
    )


def start(wanted: Plan, url: str, folder: Path, processes: Processes | None = None) -> Child:
    return locust_run.start(
        wanted, url, processes or Processes(), private=folder, reports=folder / "reports"
    )


def ended(child: Child, wanted: Plan) -> Recording:
    code = child.wait(ENDS_WITHIN_S)
    assert code == 0, child.stderr()[-2000:]
    return samples.read(Path(wanted.folder))


def judged(wanted: Plan, recording: Recording) -> Judgement:
    run = Run(traffic=wanted.traffic, warm_up_s=0.0, recording=recording, sighting=SIGHTING)
    return gate.judge(run, load_targets())


def test_workers_on_two_hosts_lose_nothing_and_count_a_stall_to_the_request(
    serve: Serve, tmp_path: Path
) -> None:
    url, port = serve(stall_at_s=1.0, stall_for_s=1.5), reserved_port()
    here = plan(tmp_path / "here", seconds=4.0)
    elsewhere = replace(here, folder=str(tmp_path / "elsewhere" / "raw"))
    (tmp_path / "here").mkdir()
    master = start(here, url, tmp_path / "here", Processes(elsewhere=2, bind_port=port))
    for number, one in enumerate((here, elsewhere)):
        worker(one, url, tmp_path, number, port)

    recording = ended(master, here)

    due = list(arrivals(here.traffic))
    late = sum((one.done_s or 0) - one.intended_s > 0.5 for one in recording.samples.values())
    assert sorted(recording.samples) == [one.index for one in due]
    # A stall of 1.5 s makes those late that were due in its first second, give or take its edges.
    assert late == pytest.approx(RATES_SUM, abs=4 * RATES_SUM**0.5)
    assert list((tmp_path / "elsewhere" / "raw").glob("*"))


def worker(wanted: Plan, url: str, folder: Path, number: int, port: int) -> Child:
    own = folder / f"worker-{number}"
    own.mkdir()
    wanted.write(own / "plan.json")
    command = [locust_run.locust_python(), "-m", "locust", "-f", str(locust_run.LOCUSTFILE)]
    return keeper().start(
        [*command, "--worker", "--master-port", str(port), "--host", url],
        name="worker",
        folder=own,
        env={VARIABLE: str(own / "plan.json")},
    )


def test_a_generator_that_was_stopped_for_a_moment_is_unknown(serve: Serve, tmp_path: Path) -> None:
    wanted = plan(tmp_path, seconds=4.0)
    child = start(wanted, serve(), tmp_path)
    eventually(
        lambda: len(samples.read(Path(wanted.folder)).samples),
        until=lambda count: count > RATES_SUM,
        within_s=ENDS_WITHIN_S,
        claim="the load is under way",
    )
    child.signal(signal.SIGSTOP)
    let_pass(1.3, because="the longest a beat may be late")
    child.signal(signal.SIGCONT)

    found = judged(wanted, ended(child, wanted))

    assert {one.verdict.valid for one in found.judged} == {None}
    assert any("stood still" in problem for problem in found.health.problems)


def test_a_dead_server_is_stopped_early_and_fails(tmp_path: Path) -> None:
    wanted = plan(tmp_path, seconds=30.0, error_share=0.5, after_requests=60)
    child = start(wanted, f"http://127.0.0.1:{reserved_port()}", tmp_path)

    recording = ended(child, wanted)

    found = judged(wanted, recording)
    assert len(recording.samples) < 120
    assert {one.error for one in recording.samples.values()} == {"refused"}
    assert {one.verdict.valid for one in found.judged if not one.unverified} == {False}


def test_no_request_goes_out_beyond_the_budget(serve: Serve, tmp_path: Path) -> None:
    wanted = plan(tmp_path, seconds=30.0, requests=50)
    child = start(wanted, serve(), tmp_path)

    recording = ended(child, wanted)

    rows = json.loads((tmp_path / "reports" / "locust" / "locust.json").read_text())
    assert len(recording.samples) == 50
    assert sum(row["num_requests"] for row in rows) == 50  # Locust's own tables say the same
    assert recording.stopped == "the budget of 50 requests is spent"


def test_the_wall_stands_in_locusts_process() -> None:
    done = subprocess.run(
        [locust_run.locust_python(), "-c", "import load.locustfile, llmhive"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "the suite may not import 'llmhive'" in done.stderr
