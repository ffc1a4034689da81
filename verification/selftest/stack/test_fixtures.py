"""The fixtures of a claim: a stack of its configuration, healed when the claim is over."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from verification.harness.stack import choice
from verification.harness.stack.programs import ROOT
from verification.selftest.plugin.inner_run import OTHERS
from verification.selftest.stack.conftest import STAND_IN

if TYPE_CHECKING:
    from pathlib import Path

CONFTEST = """
pytest_plugins = ["verification.harness.fixtures"]

def pytest_addoption(parser):
    parser.addoption("--stack", default="processes")
    parser.addoption("--target", default=None)
"""
CLAIMS = """
import pytest

def claim(**asked):
    return pytest.mark.claim(**asked)

@claim(id="a")
def test_chat_is_recorded(target, history):
    result = target.chat(target.new_user(), "hello", history=history)
    assert (result.reply, result.outcome) == ("echo: hello", "ok")
    assert [operation.f for operation in history] == ["chat"]

@claim(id="b", workers=2, env={"LOG_LEVEL": "DEBUG"})
def test_configuration_is_as_asked(target):
    assert len(target.reach_all_workers()) == 2
    assert target.settings["LOG_LEVEL"] == "DEBUG"

@claim(id="c")
def test_stream_is_read(target):
    result = target.chat(None, "hi", stream=True)
    assert [event.event for event in result.events] == ["token", "token", "done"]
    assert (result.reply, result.is_whole) == ("echo: hi", True)

@claim(id="e", needs=["postgres"])
def test_needs_what_there_is_not(target):
    assert target is None

@claim(id="d")
def test_leaves_a_fault(target):
    link = target.faults.links["redis"]
    link.server.add_toxic(link.proxy_name, "latency", "downstream", {"latency": 900})
"""


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the inner claims and give what pytest said."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = claim\n")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_claims.py").write_text(CLAIMS)
    without = [part for name in OTHERS for part in ("-p", f"no:{name}")]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", *without, *options, str(folder)],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LLMHIVE_SERVICE_PYTHON": sys.executable,
            "LLMHIVE_OVERLAY": str(STAND_IN),
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.end_to_end
def test_each_claim_gets_what_it_asked_for_and_answers_for_what_it_leaves(tmp_path: Path) -> None:
    done = run(tmp_path)

    assert "4 passed, 1 skipped, 1 error" in done.stdout, done.stdout
    assert "unverified: this target lacks postgres" in done.stdout
    assert "FaultNotHealedError: the claim left faults on: redis" in done.stdout


@pytest.mark.end_to_end
def test_a_stack_that_cannot_be_had_is_no_verdict(tmp_path: Path) -> None:
    done = run(tmp_path, "--stack", "nonsense")

    assert "5 errors" in done.stdout, done.stdout
    assert "--stack expects one of auto, containers, processes" in done.stdout


@pytest.mark.end_to_end
def test_a_silent_target_is_an_error_and_a_readable_one(tmp_path: Path) -> None:
    file = tmp_path / "target.toml"
    file.write_text(
        '[target]\nbase_url = "http://127.0.0.1:1"\nenvironment = "s"\ninstance = "i"\n'
        'capabilities = []\n[limits]\nhosts = ["127.0.0.1"]\nrequests = 9\ntokens = 9\n'
    )

    done = run(tmp_path, "--target", str(file))

    assert "SilentTargetError: http://127.0.0.1:1: no answer" in done.stdout
    assert "passed" not in done.stdout


def test_one_choice_is_made_for_a_whole_run() -> None:
    chosen = choice.settle(choice.PROCESSES)

    assert (chosen.kind, set(chosen.versions)) == ("processes", {"redis", "toxiproxy"})
