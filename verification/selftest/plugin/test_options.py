"""`--gate`, `--full`, `--keep`: what they change, and what they do not."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest

from verification.harness.stack.programs import ROOT
from verification.selftest.plugin.inner_run import (
    arguments_for,
    command_apart,
    run,
    without_this_run,
)
from verification.selftest.stack.conftest import STAND_IN

if TYPE_CHECKING:
    from pathlib import Path

CLAIMS = """
@claim("scale.shrunk", proves=[p.PRINTED_HEALTH])
def test_a_small_window(): pass

@claim("scale.default", proves=[p.PRINTED_HEALTH], full=True)
def test_a_window_of_a_minute(request):
    assert request.node.get_closest_marker("timeout").args == (900,)
"""


def test_the_plain_run_leaves_out_the_default_scale_and_says_so(tmp_path: Path) -> None:
    ran = run(tmp_path, CLAIMS)

    assert ran.verdicts == {"scale.shrunk": "true", "scale.default": "unverified"}
    assert ran.item("postdeploy.health") == (
        "unverified",
        "scale.default: not_selected: the plain run leaves it out: --full",
    )


def test_full_runs_the_default_scale_too_with_time_for_it(tmp_path: Path) -> None:
    ran = run(tmp_path, CLAIMS, "--full")

    assert ran.verdicts == {"scale.shrunk": "true", "scale.default": "true"}
    assert ran.item("postdeploy.health") == ("true", "")


def test_a_claim_that_is_named_runs_at_any_scale(tmp_path: Path) -> None:
    ran = run(tmp_path, CLAIMS, "--claim=scale.default")

    assert ran.verdicts["scale.default"] == "true"


def test_the_gate_wants_every_blocking_line_and_names_what_is_missing(tmp_path: Path) -> None:
    ran = run(tmp_path, CLAIMS, "--full", "--gate")

    assert (ran.code, ran.readiness["verdict"]) == (2, "unknown")
    assert "not shown to be ready (unknown): 1 of 130 lines verified" in ran.output


def test_without_the_gate_nothing_is_called_ready(tmp_path: Path) -> None:
    ran = run(tmp_path, CLAIMS, "--full")

    said = ran.output + (ran.reports / "summary.md").read_text()
    assert ran.code == 0
    assert " ready" not in said.replace("readiness", "")


KEPT = """
@claim("kept.up", proves=[p.PRINTED_HEALTH])
def test_health_answers(target):
    assert target.http.get("/api/health").status == 200
"""


@pytest.mark.end_to_end
@pytest.mark.timeout(120)
def test_a_kept_stack_answers_until_enter_is_pressed(tmp_path: Path) -> None:
    mine = {"LLMHIVE_SERVICE_PYTHON": sys.executable, "LLMHIVE_OVERLAY": str(STAND_IN)}
    with subprocess.Popen(
        command_apart(arguments_for(tmp_path, KEPT, "--keep", "-n2")),
        cwd=ROOT,
        env={**without_this_run(), **mine},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout
        assert running.stdin
        url = next(line.split()[-1] for line in running.stdout if line.startswith("  service: "))

        with urllib.request.urlopen(f"{url}/api/health", timeout=10) as answer:  # noqa: S310
            health = json.loads(answer.read())
        running.stdin.write("\n")
        running.stdin.close()
        rest = running.stdout.read()

    assert "components" in health
    assert "pass: 1 of 130 lines verified" in rest
    with pytest.raises(OSError, match=r"refused|timed out"):
        urllib.request.urlopen(f"{url}/api/health", timeout=2)  # noqa: S310
