"""`init`, `check`, `plan`, `undo` and `cleanup`: what they say, and what they leave alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from verification.contract.promises import HEALTH_COMPONENTS, ROLLING_WINDOW
from verification.harness import capabilities as can
from verification.harness.claims import Claim
from verification.harness.staging import command, session
from verification.harness.staging.survey import survey
from verification.harness.target_file import TargetFileError, read
from verification.selftest.stack import peers
from verification.selftest.target_file.elsewhere import LENT, Elsewhere, write_file

if TYPE_CHECKING:
    from pathlib import Path

CLAIMS = [
    Claim(id="http.health", proves=(HEALTH_COMPONENTS,)),
    Claim(id="limits.window", proves=(ROLLING_WINDOW,), needs=(can.FAULTS,), workers=2),
]


@pytest.fixture(autouse=True)
def claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two claims instead of the whole suite, which takes seconds to be collected."""
    monkeypatch.setattr(command, "all_claims", lambda: CLAIMS)


def run(word: str, file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of a command, and what it said."""
    code = command.main([word, str(file)])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_the_example_is_written_once_and_names_only_known_things(tmp_path: Path) -> None:
    file = tmp_path / "new.toml"

    assert command.main(["init", str(file)]) == 0
    assert command.main(["init", str(file)]) == 3
    with pytest.raises(TargetFileError) as refusal:
        read(file)
    assert all("cannot be read" in problem for problem in refusal.value.problems)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["check"],
        ["explode", "x"],
        ["check", "/nowhere/x.toml"],
        ["plan", "x", "dance"],
        ["plan", "x", "verify", "--profile"],
        ["init", "--url"],
    ],
)
def test_what_cannot_be_run_ends_with_3(words: list[str]) -> None:
    assert command.main(words) == 3


@pytest.mark.parametrize("word", ["check", "plan", "cleanup"])
def test_a_silent_target_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    code, said = run(word, write_file(tmp_path, "http://127.0.0.1:1"), capsys)

    assert (code, "no answer" in said) == (2, True)


def test_a_foreign_target_ends_with_1_and_gets_one_get(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with peers.peer(peers.answers(b"It works!")) as url:
        assert run("check", write_file(tmp_path, url), capsys)[0] == 1


def test_a_check_looks_by_get_alone_and_says_what_could_be_verified(
    tmp_path: Path, staging: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = run("check", write_file(tmp_path, staging.url), capsys)

    assert (code, {asked.split()[0] for asked in staging.asked}) == (1, {"GET"})
    assert "version 1.2.3, environment staging" in said
    assert "ok  secrets.admin_key: valid" in said
    assert "BAD metrics: answered 404" in said
    assert "1 of 2 claims can be asked" in said
    assert "1 claims want: faults" in said


def test_a_key_that_is_not_valid_is_named(
    tmp_path: Path,
    staging: Elsewhere,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VFY_ADMIN", "another")

    code, said = run("check", write_file(tmp_path, staging.url), capsys)

    assert (code, "BAD secrets.admin_key: not valid" in said, "another" in said) == (1, True, False)


def test_a_plan_says_what_would_be_used_touched_and_left(
    tmp_path: Path, staging: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = run("plan", write_file(tmp_path, staging.url), capsys)

    assert (code, staging.asked) == (0, ["GET /api/health"])
    assert "hosts that may be touched: 127.0.0.1" in said
    assert "removed when the run ends" in said
    assert "of 100 requests" in said


def test_a_plan_beyond_the_budget_says_so(
    tmp_path: Path, staging: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = run("plan", write_file(tmp_path, staging.url, requests=1), capsys)

    assert (code, "limits.requests (1) would be spent before the end" in said) == (1, True)


@pytest.mark.parametrize(
    ("requests", "code", "said"),
    [(100_000, 0, "of 100000 requests"), (10, 1, "limits.requests (10) does not hold this")],
)
def test_a_load_is_planned_by_its_profile(
    tmp_path: Path,
    staging: Elsewhere,
    capfd: pytest.CaptureFixture[str],
    *,
    requests: int,
    code: int,
    said: str,
) -> None:
    file = write_file(tmp_path, staging.url, requests=requests, tokens=10**9)

    ended = command.main(["plan", str(file), "load", "--profile", "ci"])

    told = capfd.readouterr().out
    assert (ended, said in told, staging.asked) == (code, True, ["GET /api/health"])


def test_a_cleanup_removes_runs_and_nothing_else_and_proves_it(
    tmp_path: Path, staging: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    staging.users = {"a": "vfy-1", "b": "vfy-2", "c": "of-somebody", "d": ""}

    code, said = run("cleanup", write_file(tmp_path, staging.url), capsys)

    assert (code, staging.users) == (0, {"c": "of-somebody", "d": ""})
    assert "removed 2 users (2 api_keys, 2 users; keys in Redis: 0)" in said
    assert "the target was asked: nothing is left" in said


def test_a_cleanup_that_left_something_is_unknown(
    tmp_path: Path, staging: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    staging.users, staging.keeps_users = {"a": "vfy-1"}, True

    code, said = run("cleanup", write_file(tmp_path, staging.url), capsys)

    assert (code, "left of run vfy-1: 1 users" in said) == (2, True)


def test_a_cleanup_waits_for_no_run_that_is_under_way(
    tmp_path: Path, staging: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    staging.users, staging.lease = {"a": "vfy-1"}, {"holder": "ci", "run": "vfy-1"}

    code, said = run("cleanup", write_file(tmp_path, staging.url), capsys)

    assert (code, "another run is under way" in said, len(staging.users)) == (3, True, 1)


def test_without_an_admin_key_nothing_was_made(
    tmp_path: Path, staging: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_file(tmp_path, staging.url, more=LENT)

    code, said = run("cleanup", file, capsys)

    assert (code, "users were lent" in said) == (0, True)
    assert not session.lock_file_of(file).exists()


def test_nothing_left_is_nothing_to_undo(
    tmp_path: Path, staging: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = run("undo", write_file(tmp_path, staging.url), capsys)

    assert (code, "nothing is left to be undone" in said, staging.asked) == (0, True, [])


def test_a_line_is_verified_only_if_all_of_its_claims_can_be_asked() -> None:
    found = survey([*CLAIMS, Claim(id="x.y", proves=(HEALTH_COMPONENTS,))], frozenset(), 1)

    assert [claim.id for claim in found.askable] == ["http.health", "x.y"]
    assert found.lacking == {"limits.window": ("faults", "workers (2)")}
    assert set(found.items) == set(HEALTH_COMPONENTS.items)
    assert found.wants() == [("faults", 1), ("workers", 1)]
