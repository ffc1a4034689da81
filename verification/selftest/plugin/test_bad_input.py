"""What cannot be run: pytest's own codes, which nox makes 3, and one line of what was expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from verification.harness.controller import emptied
from verification.selftest.plugin.inner_run import run

if TYPE_CHECKING:
    from pathlib import Path

CLAIMS = """
@claim("window.holds", proves=[p.PRINTED_HEALTH])
def test_the_window_holds(): pass

@claim("window.opens", proves=[p.PRINTED_HEALTH])
def test_the_window_opens(): pass
"""
NONE_COLLECTED, USAGE = 5, 4
CASES = {
    "option": (["--no-such-option"], USAGE, "unrecognized arguments: --no-such-option"),
    "stack": (["--stack=bad"], USAGE, "invalid choice: 'bad' (choose from 'auto', 'containers',"),
    "claim": (
        ["--claim=window.hold"],
        NONE_COLLECTED,
        "expects the id of a claim, got window.hold; did you mean window.holds?",
    ),
    "one-claim-of-two": (
        ["--claim=window.holds", "--claim=nothing.like"],
        USAGE,
        "could not run: --claim expects the id of a claim, got nothing.like\n",
    ),
    "keyword": (
        ["-k", "nothing_like_it"],
        NONE_COLLECTED,
        "could not run: -k nothing_like_it claims selects none of 2 claims",
    ),
    "expression": (["-k", "and and"], USAGE, "Wrong expression passed to '-k'"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_run_says_what_was_expected(tmp_path: Path, case: str) -> None:
    options, code, says = CASES[case]

    ran = run(tmp_path, CLAIMS, *options)

    assert (ran.code, (ran.reports / "readiness.json").exists()) == (code, False)
    assert says in ran.output
    assert "Traceback" not in ran.output


@pytest.mark.end_to_end
@pytest.mark.timeout(120)
def test_xdist_says_it_no_less(tmp_path: Path) -> None:
    ran = run(tmp_path, CLAIMS, "--claim=window.hold", "-n2", apart=True)

    assert ran.code == NONE_COLLECTED
    assert "did you mean window.holds?" in ran.output


def test_a_folder_that_holds_where_we_are_is_not_emptied_for_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work" / "here").mkdir(parents=True)
    (tmp_path / "work" / "kept").write_text("kept")
    monkeypatch.chdir(tmp_path / "work" / "here")

    with pytest.raises(pytest.UsageError, match="--reports expects a folder of its own"):
        emptied(tmp_path / "work")
    emptied(tmp_path / "work" / "here" / "reports")

    assert (tmp_path / "work" / "kept").read_text() == "kept"
    assert list((tmp_path / "work" / "here" / "reports").iterdir()) == []


def test_what_is_judged_is_said_even_by_a_quiet_run(tmp_path: Path) -> None:
    ran = run(tmp_path, CLAIMS)

    assert ran.output.startswith("judged: environment\nstack: processes (redis ")
