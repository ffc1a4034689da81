"""A target of somebody else: refused before the first request, or judged by what it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from load import __main__ as command
from load import stalling_server
from verification.harness.processes import keeper
from verification.harness.stack.servers import reserved_port
from verification.harness.staging.leases import FileLease
from verification.harness.staging.session import lock_file_of, stop_file_of

PROFILE = """
text = "a moment"
seed = 1
warm_up_s = 0
request_timeout_s = 35
[rates]
chat = 3
stream = 3
health = 3
webhook = 3
[[stages]]
for_s = 2
[stop]
error_share = 0.5
after_requests = 10
"""


@pytest.fixture
def address(tmp_path: Path) -> str:
    """Where a stand-in answers as instance "stall"."""
    child = keeper().start(
        [sys.executable, "-I", stalling_server.__file__],
        name="server",
        folder=tmp_path,
        env={},
        lifetime_pipe=True,
    )
    return f"127.0.0.1:{child.announced('listening')['listening']}"


def target_file(folder: Path, address: str, **other: Any) -> Path:
    facts = {"instance": "stall", "requests": 1000, "tokens": 100_000, "tier": "enterprise"} | other
    (folder / "key").write_text("lhk_test")
    file = folder / "target.toml"
    file.write_text(
        f"""
        [target]
        base_url = "http://{address}"
        environment = "development"
        instance = "{facts["instance"]}"
        capabilities = ["users"]
        [limits]
        hosts = ["127.0.0.1"]
        requests = {facts["requests"]}
        tokens = {facts["tokens"]}
        [[users]]
        id = "one"
        tier = "{facts["tier"]}"
        key = "file:{folder / "key"}"
        """
    )
    return file


def run(folder: Path, file: Path) -> tuple[int, Path]:
    """How `load` ended against a target file, and where its reports are."""
    (folder / "moment.toml").write_text(PROFILE)
    reports = folder / "reports"
    profile = str(folder / "moment.toml")
    code = command.main(["--profile", profile, "--target", str(file), "--reports", str(reports)])
    return code, reports


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"instance": "another"}, "got ('development', 'stall'): nothing was sent"),
        ({"requests": 10}, "limits.requests (10) does not hold what this run needs"),
        ({"tokens": 10}, "limits.tokens (10) does not hold what this run needs"),
        ({"tier": "free"}, "1 users may send 0.1 chats a second at half of their limits"),
    ],
    ids=["pin", "requests", "tokens", "limits"],
)
def test_a_run_that_may_not_be_is_refused_in_one_line(
    address: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    other: dict[str, Any],
    says: str,
) -> None:
    code, _ = run(tmp_path, target_file(tmp_path, address, **other))

    said = capsys.readouterr().err
    assert (code, says in said) == (3, True)
    assert said.count("\n") == 1


def test_a_run_beside_another_is_refused(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = target_file(tmp_path, address)
    FileLease.take(lock_file_of(file), holder="somebody", run="vfy-other")

    code, _ = run(tmp_path, file)

    assert code == 3
    assert "another run is under way: run vfy-other of somebody" in capsys.readouterr().err


def test_a_run_under_a_stop_file_is_refused(address: str, tmp_path: Path) -> None:
    file = target_file(tmp_path, address)
    stop_file_of(file).touch()

    code, _ = run(tmp_path, file)

    assert code == 3


def test_a_silent_target_is_unknown_with_a_report(tmp_path: Path) -> None:
    code, reports = run(tmp_path, target_file(tmp_path, f"127.0.0.1:{reserved_port()}"))

    assert code == 2
    assert "no answer within 10 s" in (reports / "report.html").read_text()


@pytest.mark.end_to_end
@pytest.mark.timeout(120)
def test_a_run_against_a_target_file_says_what_it_left_out_and_leaves_nothing(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = target_file(tmp_path, address)

    code, reports = run(tmp_path, file)

    facts = json.loads((reports / "results.json").read_text())
    assert code == 2  # so few requests are no proof
    assert facts["lacking"] == [
        "webhook: secrets.stripe_webhook to sign and secrets.admin_key to make customers for it"
    ]
    assert facts["arrivals"]["ok"] == facts["arrivals"]["due"]
    assert not [*tmp_path.glob("target.toml.*")]
    assert "lhk_test" not in capsys.readouterr().out + (reports / "run.json").read_text()
