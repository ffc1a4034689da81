"""A mutant is planted exactly once or says that it is broken; scores end in the right code."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from verification.contract import promises
from verification.harness.mutation import report
from verification.harness.mutation.__main__ import (
    exit_code,
    main,
    recall,
    remember,
    select,
)
from verification.harness.mutation.judge import Claims, Detection, likely, read_claims
from verification.harness.mutation.mutant import (
    MutantError,
    edited,
    plant,
    read_mutant,
    read_mutants,
)
from verification.selftest.stack.conftest import STAND_IN

ROOT = Path(__file__).parents[3]
CATALOGUE = sorted((ROOT / "verification" / "mutants").rglob("*.toml"))
WHOLE = """
id = "rl-off-by-one"
group = "limits"
breaks = "limits.window"
source = "mutation of a relational operator"
[[edit]]
file = "llmhive/limit.py"
find = "count < limit"
replace = "count <= limit"
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An installed package of one file."""
    folder = tmp_path / "installed" / "llmhive"
    folder.mkdir(parents=True)
    (folder / "limit.py").write_text("admit = count < limit\n")
    return folder


def write(folder: Path, text: str, name: str = "rl-off-by-one.toml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_an_edit_is_applied_to_the_copy_only(tmp_path: Path, package: Path) -> None:
    mutant = read_mutant(write(tmp_path, WHOLE))

    plant(mutant, package, tmp_path / "overlay")

    assert "<= limit" in (tmp_path / "overlay" / "llmhive" / "limit.py").read_text()
    assert "<= limit" not in (package / "limit.py").read_text()


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ('find = "never there"', "found 0 times"),
        ('find = "t"', "found 3 times"),
    ],
)
def test_an_edit_that_does_not_apply_exactly_once_is_broken(
    tmp_path: Path, package: Path, instead: str, said: str
) -> None:
    mutant = read_mutant(write(tmp_path, WHOLE.replace('find = "count < limit"', instead)))

    with pytest.raises(MutantError, match=said):
        plant(mutant, package, tmp_path / "overlay")


def test_an_edit_outside_the_service_is_broken(tmp_path: Path, package: Path) -> None:
    mutant = read_mutant(write(tmp_path, WHOLE.replace("llmhive/limit.py", "../limit.py")))

    with pytest.raises(MutantError, match="expected a file of the service"):
        plant(mutant, package, tmp_path / "overlay")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id = 3", "missing"),
        (WHOLE.replace("breaks", "brakes"), "unknown \\['brakes'\\]"),
        (WHOLE.split("[[edit]]", maxsplit=1)[0], "tables of file, find and replace"),
        (WHOLE.replace('id = "rl-', 'id = "xx-'), "expected the id"),
        ("id = ", "expected a TOML file"),
        (f"needs = 3\n{WHOLE}", "expected needs as a list of texts, got 3"),
        (re.sub("find = .*", "find = 3", WHOLE), "tables of file, find and replace"),
    ],
    ids=["wrong-type", "misspelt-field", "no-edit", "other-id", "no-toml", "needs", "find"],
)
def test_a_file_that_is_no_mutant_says_what_was_expected(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(MutantError, match=said):
        read_mutant(write(tmp_path, text))


def test_a_name_that_no_mutant_has_is_refused(tmp_path: Path) -> None:
    write(tmp_path, WHOLE)

    with pytest.raises(MutantError, match="rl-other"):
        select(tmp_path, ["rl-other"])


def test_what_caught_a_mutant_is_kept_beside_what_caught_the_others(tmp_path: Path) -> None:
    memory = tmp_path / "caught_by.json"
    for detection in (
        Detection("rl-one", "rl", "caught", ("limits.one",), 1.0),
        Detection("rl-two", "rl", "caught", ("limits.two",), 1.0),
        Detection("rl-one", "rl", "missed", (), 1.0),
        Detection("rl-two", "rl", "caught", ("limits.three",), 1.0),
    ):
        remember(detection, memory)

    assert recall(memory) == {"rl-one": ["limits.one"], "rl-two": ["limits.three"]}


def test_every_mutant_of_the_catalogue_has_been_caught() -> None:
    assert sorted(recall()) == sorted(path.stem for path in CATALOGUE)


def test_every_claim_has_been_seen_red() -> None:
    sources = "".join(map(Path.read_text, (ROOT / "verification" / "suites").rglob("*.py")))
    claims = set(re.findall(r'@claim\(\s*"([^"]+)"', sources))

    red = {claim for caught_by in recall().values() for claim in caught_by}
    assert claims
    assert sorted(claims - red) == []


@pytest.mark.parametrize("path", CATALOGUE, ids=lambda path: path.stem)
def test_a_mutant_of_the_catalogue_applies_to_the_sources(path: Path) -> None:
    made = edited(read_mutant(path), ROOT / "llmhive")

    assert made
    assert [file for file, text in made.items() if text == file.read_text()] == []


def test_a_mutant_of_the_catalogue_breaks_what_is_promised() -> None:
    broken = {path.stem: read_mutant(path).breaks for path in CATALOGUE}

    assert {name: breaks for name, breaks in broken.items() if breaks not in promises.EVERY} == {}


def test_what_caught_a_mutant_its_promise_and_what_it_edits_name_the_likely_claims(
    tmp_path: Path,
) -> None:
    mutant = read_mutant(write(tmp_path, WHOLE.replace("llmhive/limit", "llmhive/app/redis_keys")))

    words = likely(mutant, ["limits.window.two-workers"])

    assert words == ("limits.window.two-workers", "limits.window", "redis", "keys")


def test_a_folder_without_mutants_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MutantError, match="got none"):
        read_mutants(tmp_path)


def test_a_run_without_a_report_is_unknown(tmp_path: Path) -> None:
    claims = read_claims(tmp_path / "readiness.json", "the service did not start")

    assert (claims.verdict, claims.false) == ("unknown", ())


@pytest.mark.parametrize(
    ("healthy", "verdicts", "code"),
    [
        ("pass", ["caught"], 0),
        ("pass", ["caught", "missed", "broken"], 1),
        ("pass", ["caught", "broken"], 3),
        ("fail", ["caught"], 1),
        ("unknown", ["caught"], 2),
    ],
)
def test_the_worst_result_decides_the_exit_code(
    healthy: str, verdicts: list[str], code: int
) -> None:
    detections = [Detection("rl-a", "limits", verdict, (), 1.0) for verdict in verdicts]

    ended = exit_code(Claims(healthy, {}, ""), detections)

    assert ended == code


def test_what_the_healthy_service_did_not_keep_is_named(tmp_path: Path) -> None:
    by_verdict = {"true": ("t.one",), "unknown": ("u.one",), "false": ("f.one", "f.<two>")}
    healthy = Claims("fail", by_verdict, "")

    line = report.write(tmp_path, healthy, [Detection("rl-a", "limits", "caught", ("t.one",), 1.0)])

    told = json.loads((tmp_path / "detection.json").read_text())["healthy"]["troubles"]
    assert told == ["f.one: false", "f.<two>: false", "u.one: unknown"]
    assert "the healthy service: fail (f.one: false, f.<two>: false, u.one: unknown)" in line
    assert "f.&lt;two&gt;: false" in (tmp_path / "report.html").read_text()


def ended(words: list[str]) -> object:
    """The exit code of the command."""
    try:
        return main(words)
    except SystemExit as left:
        return left.code


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--onyl=x"], "unrecognized arguments: --onyl=x"),
        (["--only=x"], "expected ids of mutants in "),
        (["--from=nowhere"], "nowhere"),
    ],
    ids=["option", "id", "folder"],
)
def test_what_cannot_be_run_ends_with_3(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = ended(words)

    said = capsys.readouterr().err
    assert (code, said.startswith("could not run: "), said.count("\n")) == (3, True, 1)
    assert says in said


def test_a_mutant_that_no_longer_applies_ends_with_3_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLMHIVE_SERVICE_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    (tmp_path / "mutants").mkdir()
    write(tmp_path / "mutants", WHOLE.replace("llmhive/limit.py", "llmhive/__main__.py"))

    reports = tmp_path / "reports"
    code = main(
        ["--from", str(tmp_path / "mutants"), "--only=rl-off-by-one", f"--reports={reports}"]
    )

    detection = json.loads((reports / "detection.json").read_text())
    assert (code, detection["mutants"][0]["verdict"]) == (3, "broken")
    assert "found 0 times" in capsys.readouterr().out
