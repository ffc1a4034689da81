"""The command: exit codes, bad input in one line, kept histories judged again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaos import kept
from chaos.command import main
from chaos.conclusion import Conclusion
from chaos.judgement import Judgement, Owner, Word
from chaos.selftest.test_judgement import experiment, performed
from verification.history import History

MOMENT = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
REAL = "slow_redis_keeps_chat_inside_its_bound"


def conclusion(*words: Word) -> Conclusion:
    """A campaign whose experiments said these words."""
    results = [
        kept.result_of(
            f"experiment_{number}",
            experiment(),
            Judgement(word, "because", Owner.SERVICE if word is Word.FALSE else None),
            seconds=1.0,
            folder=Path(f"experiment_{number}"),
        )
        for number, word in enumerate(words)
    ]
    return Conclusion(
        results=results,
        artefact={"kind": "wheel", "wheel": "llmhive-1.whl", "sha256": "abc"},
        stack={"kind": "processes"},
        seed=7,
        began=MOMENT,
        ended=MOMENT,
        known=4,
    )


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ([Word.TRUE] * 4, 0, "go: 4 of 4 experiments hold; artefact llmhive-1.whl (abc); stack"),
        ([Word.TRUE, Word.FALSE], 1, "no go: 1 of 2 experiments hold, 1 false, 2 not asked for"),
        ([Word.UNKNOWN, Word.FALSE], 1, "no go: 0 of 2 experiments hold, 1 false, 1 unknown"),
        ([Word.TRUE, Word.UNKNOWN], 2, "unknown: 1 of 2 experiments hold, 1 unknown"),
        ([Word.TRUE, Word.UNVERIFIED], 0, "go: 1 of 2 experiments hold, 1 unverified"),
        ([Word.UNVERIFIED], 2, "unknown: 0 of 1 experiments hold, 1 unverified"),
        ([], 2, "unknown: 0 of 0 experiments hold, 4 not asked for"),
    ],
)
def test_the_line_and_the_code_say_go_no_go_or_unknown(
    words: list[Word], code: int, line: str
) -> None:
    made = conclusion(*words)

    assert made.exit_code == code
    assert made.line.startswith(line)


def test_results_json_holds_what_the_page_shows(tmp_path: Path) -> None:
    conclusion(Word.TRUE, Word.FALSE).write(tmp_path)

    found = json.loads((tmp_path / "results.json").read_text())

    assert list(found) == [
        "schema", "answer", "line", "artefact", "stack", "seed", "began", "ended", "rechecked",
        "undone_first", "experiments",
    ]  # fmt: skip
    assert [(one["word"], one["owner"]) for one in found["experiments"]] == [
        ("true", None),
        ("false", "service"),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "no_such"], "--only expects names of experiments"),
        (["--mutant", "no-such"], "no experiment names 'no-such'"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["--seed", "x"], "invalid int value"),
        (["--target", "no-such.toml"], "no-such.toml"),
        (["--recheck", "no-such-folder"], "expected a folder with experiment.json"),
    ],
)
def test_bad_input_ends_3_with_one_clear_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main([*arguments, "--reports", str(tmp_path)])
    except SystemExit as ended:
        code = int(ended.code or 0)

    errors = capsys.readouterr().err.splitlines()
    assert (code, len(errors)) == (3, 1)
    assert errors[0].startswith("could not run: ")
    assert said in errors[0]


@pytest.mark.parametrize("option", ["--list", "--plan"])
def test_list_and_plan_touch_nothing(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([option, "--reports", str(tmp_path / "reports")])

    assert (code, (tmp_path / "reports").exists()) == (0, False)
    assert REAL in capsys.readouterr().out


def keep(folder: Path, history: History, name: str = REAL) -> None:
    """A kept experiment of that name, as a run leaves it."""
    folder.mkdir(parents=True)
    history.write(folder / kept.HISTORY)
    facts = {"schema": kept.SCHEMA, "name": name, "nemesis": "x", "workload": "y"}
    more = {"workers": 2, "env": {}, "undone_by": "z"}
    (folder / kept.FACTS).write_text(json.dumps({**facts, **more}))


def test_a_kept_history_is_judged_by_todays_checkers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = performed()
    for number in range(7):
        history.add(
            process="pairs",
            f="pair",
            value={"reading_s": 0.7, "control_s": 0.001},
            outcome="ok",
            started_s=1.2 + number / 100,
            finished_s=1.205 + number / 100,
        )
    keep(tmp_path / "histories" / REAL, history)

    code = main(["--recheck", str(tmp_path), "--reports", str(tmp_path / "again")])

    assert code == 1
    assert "no go: 0 of 1 experiments hold, 1 false" in capsys.readouterr().out
    page = (tmp_path / "again" / "report.html").read_text()
    assert "median 0.700 s" in page


def test_a_history_that_was_tampered_with_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path / REAL, performed())
    with (tmp_path / REAL / kept.HISTORY).open("a") as file:
        file.write("not an operation\n")

    code = main(["--recheck", str(tmp_path), "--reports", str(tmp_path / "again")])

    assert code == 3
    assert "expected an operation" in capsys.readouterr().err
