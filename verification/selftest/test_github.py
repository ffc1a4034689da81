"""What GitHub Actions is told: only when it listens, and nothing that a text could forge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verification.harness.github import Annotation, tell

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FORGED = Annotation(
    level="error",
    title="one: two, three",
    message="100 %\n::warning::mine\r\n",
    file="a,b.py",
    line=7,
)


def test_a_text_cannot_begin_a_command_of_its_own() -> None:
    assert FORGED.command == (
        "::error file=a%2Cb.py,line=7,title=one%3A two%2C three::100 %25%0A::warning::mine%0D%0A"
    )


def test_without_a_file_there_is_no_place() -> None:
    command = Annotation(level="warning", title="t", message="m").command

    assert command == "::warning title=t::m"


def test_elsewhere_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))

    tell("# told\n", [FORGED])

    assert (capsys.readouterr().out, list(tmp_path.iterdir())) == ("", [])


def test_summaries_of_several_steps_stand_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))

    tell("# first\n", [FORGED])
    tell("# second\n", [])

    assert (tmp_path / "summary.md").read_text("utf-8") == "# first\n# second\n"
    assert FORGED.command in capsys.readouterr().out.splitlines()
