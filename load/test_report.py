"""What a run leaves: results that machines can read, a page that can be mailed, a kept run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from load import gate, in_ci, kept, known_truths, plots, report, results
from load.known_truths import Answer, StallingServer, answered, failed, recorded, traffic
from load.results import Compared, Results
from load.schedule import Arrival
from verification.contract.load import load_targets
from verification.harness.readiness import RunVerdict
from verification.verdict import Verdict

TRAFFIC = traffic(40.0, chat=20.0, stream=20.0, health=20.0)


def judged(answer: Answer = answered, **more: Any) -> Results:
    recording = recorded(TRAFFIC, answer)
    of = known_truths.kept_run(TRAFFIC, provider_s=dict.fromkeys(recording.samples, 0.0), **more)
    run = of.as_run(recording)
    judgement = gate.judge(run, load_targets())
    return Results(kept=of, recording=recording, run=run, judgement=judgement)


def sometimes_failing(one: Arrival) -> Any:
    return failed(one, "internal_error", 500) if one.index % 7 == 0 else answered(one)


STALL = StallingServer(20.0, 3.0)


@pytest.mark.parametrize(
    ("answer", "verdict", "code"),
    [(answered, RunVerdict.PASS, 0), (STALL, RunVerdict.FAIL, 1)],
    ids=["healthy", "stalled"],
)
def test_a_run_takes_its_worst_target(answer: Answer, verdict: RunVerdict, code: int) -> None:
    found = judged(answer)

    assert (found.verdict, found.verdict.exit_code) == (verdict, code)


def test_a_run_slower_than_its_baseline_fails() -> None:
    slower = Compared(id="chat.answered", verdict=Verdict(False, "not slower", {}, "P99 2 s"))
    found = judged()

    compared = Results(
        kept=found.kept,
        recording=found.recording,
        run=found.run,
        judgement=found.judgement,
        compared=(slower,),
    )

    assert compared.verdict is RunVerdict.FAIL
    assert "chat.answered: P99 2 s" in compared.headline
    assert "against the baseline" in report.document(compared)


def test_trouble_with_locust_itself_is_unknown_and_said() -> None:
    found = judged(trouble="Locust ended with 1")

    assert found.verdict is RunVerdict.UNKNOWN
    assert "Locust ended with 1" in report.document(found)


@pytest.mark.parametrize(
    "answer", [answered, STALL, sometimes_failing], ids=["well", "stall", "500s"]
)
def test_results_are_json_that_every_reader_knows(answer: Answer) -> None:
    text = json.dumps(results.document(judged(answer)), allow_nan=False)

    facts = json.loads(text)
    assert facts["schema"] == "llmhive/load/1"
    assert {one["verdict"] for one in facts["claims"]} <= {"true", "false", "unknown", "unverified"}


def test_failures_are_late_and_never_a_time() -> None:
    chat = results.document(judged(sometimes_failing))["claims"][0]

    assert chat["verdict"] == "false"
    assert chat["p99_s"] is None
    assert chat["p50_s"] == pytest.approx(0.01, abs=1e-6)


@pytest.mark.parametrize(
    "answer", [answered, STALL, sometimes_failing], ids=["well", "stall", "500s"]
)
def test_the_page_is_complete_in_itself(answer: Answer) -> None:
    page = report.document(judged(answer))

    assert not re.search(r"""(src|href)=["']?(https?:|//)|<script|@import|url\(""", page)
    assert page.count("<svg") == 2 * 4 + 2


def test_the_page_shows_text_from_elsewhere_as_text() -> None:
    page = report.document(judged())

    assert "<pro>" not in page
    assert "&lt;pro&gt;" in page


def test_the_page_shades_warm_up_and_faults() -> None:
    fault = {"number": 0, "what": "redis 300 ms slower", "from_s": 10.0, "until_s": 20.0}

    page = report.document(judged(faults=(fault,)))

    assert page.count('class="band fault"') == 4
    assert "redis 300 ms slower" in page


def test_a_scatter_leaves_out_none_that_was_late_and_not_the_slowest() -> None:
    points = [plots.Point(n / 100, 0.01 + n % 97 / 1e4, "held") for n in range(20_000)]
    points += [plots.Point(n, 2.0, "late") for n in range(50)]

    shown = plots.thinned(points, 200.0)

    assert len(shown) < 2000
    assert sum(one.fate == "late" for one in shown) == 50
    assert max(one.seconds for one in shown if one.fate == "held") == pytest.approx(
        0.0196, abs=1e-9
    )


def test_a_kept_run_is_judged_again_to_the_same_results(tmp_path: Path) -> None:
    known_truths.write_run(tmp_path, TRAFFIC, STALL)

    again, recording = kept.read(tmp_path, "raw")

    first = [one.tally for one in judged(STALL).judgement.judged]
    second = gate.judge(again.as_run(recording), load_targets()).judged
    assert [one.tally for one in second] == first


@pytest.mark.parametrize(
    ("buckets", "p99_ms"),
    [({"10": 99, "2000": 1}, 2000), ({"10": 100, "2000": 1}, 10), ({"10": 1}, 10)],
    ids=["at a whole hundred the maximum", "one more and the median", "a single request"],
)
def test_locusts_percentile_is_taken_as_locust_takes_it(
    buckets: dict[str, int], p99_ms: float
) -> None:
    assert results.percentile_of(buckets, 0.99) == p99_ms


def test_ci_is_told_each_target_and_remarks_on_what_was_missed() -> None:
    missed, held = judged(STALL), judged()

    summary, told = in_ci.summary(missed), in_ci.remarks(missed)

    assert summary.startswith(f"## load: {missed.headline}\n")
    targets = [one.target.id for one in missed.judgement.judged]
    assert [line.split("`")[1] for line in summary.splitlines() if "`" in line] == targets
    assert "error" in {one.level for one in told}
    assert in_ci.remarks(held) == []
