"""A run against a target elsewhere: what refuses it, what ends it, what it leaves: nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from verification.harness.stack.programs import ROOT
from verification.harness.staging import leases, session
from verification.harness.staging.budget import Spent
from verification.harness.staging.gate import ForeignHostError, ForeignTargetError, RunEndedError
from verification.harness.staging.leases import LeaseHeldError
from verification.harness.staging.refusal import RefusedError
from verification.harness.staging.session import joined, remote_run
from verification.harness.target_file import TargetFileError
from verification.harness.waiting import eventually
from verification.selftest.stack import peers
from verification.selftest.target_file.elsewhere import LENT, MADE, Elsewhere, write_file

if TYPE_CHECKING:
    from pathlib import Path

BEFORE_A_RUN = ["GET /api/health", "POST /api/admin/run-lease"]
KILLED = """
import sys
from pathlib import Path
from verification.harness.staging.session import remote_run
with remote_run(Path(sys.argv[1]), kind="verify") as run:
    run.users().make(run.name("user"), tier="free", customer=None)
    print(run.tag, flush=True)
    sys.stdin.read()
"""


def test_a_run_makes_users_and_leaves_nothing(tmp_path: Path, staging: Elsewhere) -> None:
    with remote_run(write_file(tmp_path, staging.url), kind="verify") as run:
        user = run.users().make(run.name("user"), tier="pro", customer="cus_1")
        answer = run.http().post("/api/chat", json={"message": "hi"}, key=user.key)
        tags, spent = set(staging.users.values()), run.spent

    assert (answer.status, tags, staging.users) == (200, {run.tag}, {})
    assert spent == Spent(requests=2, chats=1, tokens=7)
    assert (staging.lease, run.farewell[-1]) == (None, "the target was asked: nothing is left")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("requests = 100", "", "limits.requests: expected int, got nothing"),
        ("tokens = 1000", "", "limits.tokens: expected int, got nothing"),
        ("[limits]", "[limit]", "did you mean 'limits'"),
        ('hosts = ["127.0.0.1"]', 'hosts = ["elsewhere"]', "not among limits.hosts"),
        ("env:VFY_ADMIN", "lhk_literal", "got a literal secret"),
        ("env:VFY_ADMIN", "env:VFY_LIVE", "live Stripe key"),
    ],
    ids=["no requests", "no tokens", "no limits", "a foreign host", "a literal", "a live key"],
)
def test_a_file_that_is_not_in_order_sends_nothing(
    tmp_path: Path, staging: Elsewhere, old: str, new: str, said: str
) -> None:
    file = write_file(tmp_path, staging.url)
    file.write_text(file.read_text().replace(old, new))

    with pytest.raises(TargetFileError, match=said.replace("[", r"\[")), remote_run(file, kind="x"):
        pass

    assert staging.asked == []


def test_an_estimate_beyond_the_budget_sends_nothing(tmp_path: Path, staging: Elsewhere) -> None:
    file = write_file(tmp_path, staging.url, requests=100)

    with (
        pytest.raises(RefusedError, match=r"limits.requests \(100\) does not hold"),
        remote_run(file, kind="load", estimate=Spent(requests=101)),
    ):
        pass

    assert staging.asked == []


def test_a_stop_file_lets_no_run_begin(tmp_path: Path, staging: Elsewhere) -> None:
    file = write_file(tmp_path, staging.url)
    session.stop_file_of(file).touch()

    with (
        pytest.raises(RefusedError, match=r"stop file \S+\.stop is"),
        remote_run(file, kind="x"),
    ):
        pass

    assert staging.asked == []


def test_another_instance_gets_one_get_and_no_run(tmp_path: Path, staging: Elsewhere) -> None:
    staging.instance = "production-1"

    with (
        pytest.raises(RefusedError, match="expected environment and instance"),
        remote_run(write_file(tmp_path, staging.url), kind="verify"),
    ):
        pass

    assert staging.asked == ["GET /api/health"]


def test_a_held_lease_is_told_with_its_holder(tmp_path: Path, staging: Elsewhere) -> None:
    staging.lease = {"holder": "ci on host-1", "run": "vfy-1"}

    with (
        pytest.raises(LeaseHeldError, match="Run vfy-1 of ci on host-1 holds the lease for 40 s"),
        remote_run(write_file(tmp_path, staging.url), kind="verify"),
    ):
        pass

    assert staging.asked == BEFORE_A_RUN


def test_a_second_run_of_the_same_file_is_refused_without_an_admin_key(
    tmp_path: Path, staging: Elsewhere
) -> None:
    file = write_file(tmp_path, staging.url, more=LENT)

    with (
        remote_run(file, kind="verify"),
        pytest.raises(LeaseHeldError, match=r"holds target.toml.lock for \d+ s more"),
        remote_run(file, kind="load"),
    ):
        pass

    with remote_run(file, kind="load") as again:
        assert again.users().make("x", tier="free", customer=None).id == "u0"
    assert not session.lock_file_of(file).exists()


def test_a_key_that_is_no_admins_is_told_before_the_run(
    tmp_path: Path, staging: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFY_ADMIN", "another")

    with (
        pytest.raises(RefusedError, match=r"cannot be had with secrets.admin_key: .* 401"),
        remote_run(write_file(tmp_path, staging.url), kind="verify"),
    ):
        pass

    assert "another" not in str(staging.asked)


def test_an_expired_lease_is_taken_over_and_its_run_is_cleaned_up(
    tmp_path: Path, staging: Elsewhere
) -> None:
    staging.lease = {"holder": "ci on host-1", "run": "vfy-dead", "is_expired": True}
    staging.users = {"left": "vfy-dead", "its": "vfy-dead-gw0-tag-1", "somebody": "theirs"}

    with remote_run(write_file(tmp_path, staging.url), kind="verify") as run:
        assert run.ended == ""

    assert staging.users == {"somebody": "theirs"}


@pytest.mark.parametrize("more", [MADE, LENT], ids=["made", "lent"])
def test_a_killed_run_holds_its_lease_until_it_ends_and_is_cleaned_up(
    tmp_path: Path, staging: Elsewhere, more: str
) -> None:
    file = write_file(tmp_path, staging.url, more=more)
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(file)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert killed.stdout is not None
    tag = killed.stdout.readline().decode().strip()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()

    with pytest.raises(LeaseHeldError, match=tag), remote_run(file, kind="verify"):
        pass
    _let_it_expire(staging, session.lock_file_of(file))
    with remote_run(file, kind="verify") as run:
        assert run.tag != tag
    assert (staging.users, tag.startswith("vfy-")) == ({}, True)


def _let_it_expire(staging: Elsewhere, lock: Path) -> None:
    if staging.lease is not None:
        staging.lease["is_expired"] = True
    if lock.exists():
        kept = json.loads(lock.read_text())
        lock.write_text(json.dumps({**kept, "expires_at": kept["expires_at"] - leases.TTL_S}))


# -- what ends a run


def test_a_spent_budget_sends_nothing_more(tmp_path: Path, staging: Elsewhere) -> None:
    with remote_run(write_file(tmp_path, staging.url, requests=2), kind="verify") as run:
        http = run.http()
        for _ in range(2):
            http.get("/api/health")
        with pytest.raises(RunEndedError, match=r"limits.requests \(2\) .* is spent"):
            http.get("/api/health")
        asked = len(staging.asked)

    assert (asked, run.ended != "") == (2 + len(BEFORE_A_RUN), True)


def test_tokens_are_reserved_by_the_estimate_and_settled_by_the_answer(
    tmp_path: Path, staging: Elsewhere
) -> None:
    with remote_run(write_file(tmp_path, staging.url, tokens=24), kind="verify") as run:
        http = run.http()
        for _ in range(3):
            http.post("/api/chat", json={"message": "hi"}, key="k")
        with pytest.raises(RunEndedError, match=r"limits.tokens \(24\)"):
            http.post("/api/chat", json={"message": "hi"}, key="k")

    assert run.spent.tokens == 21


def test_money_follows_from_tokens(tmp_path: Path, staging: Elsewhere) -> None:
    file = write_file(tmp_path, staging.url)
    more = 'tokens = 1000\nmoney = 0.01\n[prices]\nper_1k_tokens = 1.0\ncurrency = "USD"'
    file.write_text(file.read_text().replace("[prices]\n", "").replace("tokens = 1000", more))

    with remote_run(file, kind="verify") as run:
        http = run.http()
        http.post("/api/chat", json={"message": "hi"}, key="k")
        with pytest.raises(RunEndedError, match=r"limits.money \(0.01 USD\)"):
            http.post("/api/chat", json={"message": "hi"}, key="k")
        assert run.told().endswith("0.01 of 0.01 USD")


def test_a_stop_file_ends_a_run_in_every_process(tmp_path: Path, staging: Elsewhere) -> None:
    file = write_file(tmp_path, staging.url)

    with remote_run(file, kind="verify") as run:
        other = joined(run.state)
        session.stop_file_of(file).touch()
        with pytest.raises(RunEndedError, match="stop file"):
            run.http().get("/api/health")
        session.stop_file_of(file).unlink()
        with pytest.raises(RunEndedError, match="stop file"):
            other.http().get("/api/health")


def test_a_lost_lease_ends_a_run(
    tmp_path: Path, staging: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verification.harness.staging.session.RENEW_EVERY_S", 0.05)
    staging.is_lease_lost = True

    with remote_run(write_file(tmp_path, staging.url), kind="verify") as run:
        eventually(lambda: run.ended, until=bool, within_s=20, claim="the run has to end")
        with pytest.raises(RunEndedError, match="lease on the target was lost"):
            run.http().get("/api/health")


def test_processes_of_a_run_share_one_budget(tmp_path: Path, staging: Elsewhere) -> None:
    with remote_run(write_file(tmp_path, staging.url, requests=60), kind="load") as run:
        greedy = joined(run.state, portion=50)
        greedy.http().get("/api/health")
        drawn = run.spent.requests
        greedy.gate.close()

        assert (drawn, run.spent.requests) == (50, 1)


def test_the_last_requests_of_a_budget_are_drawn_singly(tmp_path: Path, staging: Elsewhere) -> None:
    with remote_run(write_file(tmp_path, staging.url, requests=3), kind="load", portion=50) as run:
        statuses = [run.http().get("/api/health").status for _ in range(3)]

    assert statuses == [200, 200, 200]


# -- what never goes out


def test_no_request_goes_to_a_host_that_the_file_does_not_name(
    tmp_path: Path, staging: Elsewhere
) -> None:
    with remote_run(write_file(tmp_path, staging.url), kind="verify") as run:
        for url in ("http://localhost/api/health", "http://evil.example/", "http:///x"):
            with pytest.raises(ForeignHostError, match="nothing was sent"):
                run.gate("GET", url)


def test_a_foreign_target_gets_nothing_but_gets(tmp_path: Path) -> None:
    with (
        peers.peer(peers.answers(b"It works!")) as url,
        remote_run(write_file(tmp_path, url), kind="verify") as run,
    ):
        assert run.http().get("/").text == "It works!"
        with pytest.raises(ForeignTargetError, match="POST was not sent"):
            run.http().post("/api/chat", json={})
        with pytest.raises(ForeignTargetError):
            run.http().raw(b"GET / HTTP/1.1\r\n\r\n")


def test_what_cannot_be_removed_is_said(tmp_path: Path, staging: Elsewhere) -> None:
    staging.keeps_users = True

    with remote_run(write_file(tmp_path, staging.url), kind="verify") as run:
        run.users().make("somebody", tier="free", customer=None)

    assert run.farewell[-1] == f"left of run {run.tag}: 1 users"


def test_state_of_a_run_is_its_owners_alone(tmp_path: Path, staging: Elsewhere) -> None:
    with remote_run(write_file(tmp_path, staging.url), kind="verify") as run:
        mode = run.state.stat().st_mode & 0o777
        texts = [file.read_text() for file in run.state.iterdir()]

    assert (mode, any("lhk_" in text for text in texts)) == (0o700, False)
    assert not run.state.exists()
