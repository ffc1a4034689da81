"""The three commands of the checklist, exactly as printed, with origin and key put in."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from typing import Any

import pytest

from verification.contract import promises
from verification.contract.commands import PRINTED_COMMANDS
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.target import Target

CURL_S_MAX = 20


def run_printed(command: str, target: Target, key: str) -> tuple[int, str]:
    """Run one printed command with `curl`; gives the status and the body."""
    line = command.replace("https://your-domain.com", target.base_url).replace("$API_KEY", key)
    words = [*shlex.split(line.replace("\\\n", " ")), "-s", "-w", "\n%{http_code}"]
    url = next(word for word in words if word.startswith(target.base_url))
    target.permit("POST" if "POST" in words else "GET", url.removeprefix(target.base_url))
    run = subprocess.run(words, capture_output=True, text=True, check=False, timeout=CURL_S_MAX)
    body, _, status = run.stdout.rpartition("\n")
    return int(status or 0), body


def parsed(body: str) -> dict[str, Any]:
    """The JSON object that the body is; a body that is none breaks the promise."""
    assert body.lstrip().startswith("{"), f"expected a JSON object, got {body[:200]!r}"
    found: dict[str, Any] = json.loads(body)
    return found


@pytest.fixture(autouse=True)
def curl() -> str:
    """The `curl` of this machine; without it the commands as printed cannot be run."""
    return shutil.which("curl") or pytest.skip("unverified: curl is not on PATH")


@claim("postdeploy.health.as-printed", proves=[promises.PRINTED_HEALTH])
def test_the_printed_health_command_answers_with_a_known_status(target: Target) -> None:
    status, body = run_printed(PRINTED_COMMANDS["health"], target, key="")

    assert (status, parsed(body)["status"]) == (200, "ok")


@claim("postdeploy.metrics.as-printed", proves=[promises.PRINTED_METRICS])
def test_the_printed_metrics_command_answers_with_metrics(target: Target) -> None:
    status, body = run_printed(PRINTED_COMMANDS["metrics"], target, key="")

    assert status == 200
    assert "# TYPE llmhive_http_requests_total counter" in body


@claim("postdeploy.chat.as-printed", proves=[promises.PRINTED_CHAT], needs=[can.USERS])
def test_the_printed_chat_command_answers_with_a_reply(target: Target) -> None:
    user = target.new_user()

    status, body = run_printed(PRINTED_COMMANDS["chat"], target, user.key)

    # Simulated providers repeat what they are told; a real one says what it likes.
    wanted = "Hello, test" if can.SCRIPT in target.capabilities else ""
    assert status == 200
    assert wanted in parsed(body)["reply"]
    assert parsed(body)["reply"] != ""
