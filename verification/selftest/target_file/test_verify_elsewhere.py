"""`verify -- --target FILE` from end to end: exit codes, what the report says, what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from verification.harness.staging import session
from verification.selftest.plugin.inner_run import run
from verification.selftest.stack import peers
from verification.selftest.target_file.elsewhere import ADMIN_KEY, MADE, Elsewhere, write_file

if TYPE_CHECKING:
    from pathlib import Path

CLAIMS = """
@claim("vfy.health", proves=[p.PRINTED_HEALTH])
def test_health_answers(target):
    assert target.http.get("/api/health").status == 200

@claim("vfy.chat", proves=[p.PRINTED_CHAT], needs=["users"])
def test_chat_answers(target):
    user = target.new_user()
    assert [target.chat(user, "hi").status for _ in range(4)] == [200] * 4

@claim("vfy.faults", proves=[p.PRINTED_METRICS], needs=["faults"])
def test_faults_bite(target):
    assert target.faults
"""
IN_ORDER = "--randomly-dont-reorganize"


def test_a_run_verifies_what_it_can_and_leaves_nothing(tmp_path: Path, staging: Elsewhere) -> None:
    ran = run(tmp_path, CLAIMS, f"--target={write_file(tmp_path, staging.url)}")

    assert (ran.code, ran.readiness["verdict"]) == (0, "pass"), ran.output
    assert ran.verdicts == {"vfy.health": "true", "vfy.chat": "true", "vfy.faults": "unverified"}
    assert "not verified: 1 claim, for want of faults" in ran.output
    assert "the target was asked: nothing is left" in ran.output
    assert (staging.users, staging.lease) == ({}, None)


def test_no_evidence_shows_a_secret_of_the_file(tmp_path: Path, staging: Elsewhere) -> None:
    more = MADE + '\nmetrics_token = "env:VFY_TOKEN"'
    spoken = """
@claim("vfy.operator", proves=[p.PRINTED_HEALTH], needs=["users", "admin"])
def test_the_operator_asks(target):
    target.http.get("/api/admin/tags", params={"prefix": "t"}, key=target.operator().key)
    target.chat(target.new_user(), "hi")
"""
    file = write_file(tmp_path, staging.url, more=more)
    file.write_text(
        file.read_text().replace('["users", "metrics"]', '["users", "metrics", "admin"]')
    )

    ran = run(tmp_path, spoken, f"--target={file}")

    written = [path.read_text() for path in ran.reports.rglob("*") if path.is_file()]
    told = "".join([*written, ran.output])
    assert "<key of operator>" in told, ran.output
    assert not [secret for secret in ("the-token", ADMIN_KEY, "lhk_1") if secret in told]


@pytest.mark.end_to_end
@pytest.mark.timeout(120)
def test_a_run_of_several_workers_is_one_run(tmp_path: Path, staging: Elsewhere) -> None:
    file = write_file(tmp_path, staging.url)

    ran = run(tmp_path, CLAIMS, f"--target={file}", "-n2", apart=True)

    assert ran.code == 0, ran.output
    assert staging.asked.count("POST /api/admin/run-lease") == 1
    assert "28 of 1000 tokens (4 chats)" in ran.output


def test_a_budget_that_is_spent_in_the_middle_leaves_the_run_unknown(
    tmp_path: Path, staging: Elsewhere
) -> None:
    file = write_file(tmp_path, staging.url, tokens=25)

    ran = run(tmp_path, CLAIMS, f"--target={file}", IN_ORDER)

    assert (ran.code, ran.readiness["verdict"]) == (2, "unknown"), ran.output
    assert (ran.verdicts["vfy.health"], ran.verdicts["vfy.chat"]) == ("true", "unknown")
    assert "the run had to end: limits.tokens (25) of the target file is spent" in ran.output
    assert staging.asked.count("POST /api/chat") == 3
    assert staging.users == {}


@pytest.mark.parametrize("why", ["instance", "lease", "budget", "stop file", "key"])
def test_what_refuses_a_run_is_one_line_and_exit_code_3(
    tmp_path: Path, staging: Elsewhere, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    file = write_file(tmp_path, staging.url)
    if why == "instance":
        staging.instance = "production-1"
    elif why == "lease":
        staging.lease = {"holder": "ci", "run": "vfy-1"}
    elif why == "budget":
        file.write_text(file.read_text().replace("requests = 100", "requests = 0"))
    elif why == "stop file":
        session.stop_file_of(file).touch()
    else:
        monkeypatch.setenv("VFY_ADMIN", "another")

    ran = run(tmp_path, CLAIMS, f"--target={file}")

    assert ran.code == 3, ran.output
    assert "Traceback" not in ran.output
    assert "could not run:" in ran.output
    assert "POST /api/chat" not in staging.asked


def test_a_foreign_target_is_false_and_a_silent_one_unknown(tmp_path: Path) -> None:
    with peers.peer(peers.answers(b"It works!")) as url:
        foreign = run(tmp_path, CLAIMS, f"--target={write_file(tmp_path, url)}")
        assert foreign.verdicts["vfy.chat"] == "false"
    silent = run(tmp_path, CLAIMS, f"--target={write_file(tmp_path, 'http://127.0.0.1:1')}")

    assert (foreign.code, silent.code) == (1, 2)
    assert silent.verdicts["vfy.health"] == "unknown"


def test_a_stop_file_in_the_middle_ends_the_run(tmp_path: Path, staging: Elsewhere) -> None:
    file = write_file(tmp_path, staging.url)
    stopping = f"""
@claim("vfy.stops", proves=[p.PRINTED_HEALTH])
def test_somebody_stops_the_run(target):
    open({str(session.stop_file_of(file))!r}, "w").close()
    target.http.get("/api/health")
"""

    ran = run(tmp_path, stopping + CLAIMS, f"--target={file}", IN_ORDER)

    assert (ran.code, ran.verdicts["vfy.stops"]) == (2, "unknown"), ran.output
    assert "the run had to end: the stop file target.toml.stop is there" in ran.output
    assert staging.lease is None
