"""The page: one axis of time for everything, complete in itself, nothing unescaped."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from chaos.judgement import Word
from chaos.report import figure, in_ci, page
from chaos.report.timeline import Timeline, timeline
from chaos.selftest.test_command import conclusion, keep
from chaos.selftest.test_judgement import performed
from verification.history import History, Outcome


def told(at_s: float, event: str, **more: object) -> str:
    """A line of the service's log, on the history's clock."""
    return json.dumps({"at_s": at_s, "level": "info", "event": event, **more}) + "\n"


@pytest.fixture
def history() -> History:
    """A whole chat, a fault, a refusal, a cut, a leaver, and health all along."""
    made = performed()
    rows: list[tuple[float, float, Outcome, dict[str, object]]] = [
        (0.5, 0.02, Outcome.OK, {"status": 200}),
        (1.5, 0.02, Outcome.INFO, {"status": 503, "code": "no_provider_available"}),
        (1.6, 0.02, Outcome.INFO, {"status": 200, "error": "reset"}),
        (1.7, 0.02, Outcome.INFO, {"status": 0, "error": "left"}),
        (2.5, 0.02, Outcome.OK, {"status": 200}),
    ]
    for at_s, seconds, outcome, value in rows:
        made.add(
            process="caller",
            f="chat",
            value=value,
            outcome=outcome,
            started_s=at_s,
            finished_s=at_s + seconds,
        )
    for at_s, status in ((0.5, "ok"), (1.2, "degraded"), (1.4, "degraded"), (2.2, "ok")):
        made.add(
            process="watch",
            f="health",
            value={"status": status, "breakers": {"openai": "closed"}, "served_by": "w"},
            outcome="ok",
            started_s=at_s,
            finished_s=at_s,
        )
    return made


@pytest.fixture
def line(history: History) -> Timeline:
    """The timeline of that history, with a breaker in the log."""
    log = told(1.3, "circuit_moved", service="openai:gpt-4o:0", to="open")
    log += told(2.1, "circuit_moved", service="openai:gpt-4o:0", to="closed")
    return timeline(history, log + told(1.0, "request") + told(1.1, "redis_down", why="<b>"))


def test_requests_stand_by_how_they_ended(line: Timeline) -> None:
    assert [point.kind for point in line.points] == ["whole", "refused", "broken", "left", "whole"]


def test_states_last_from_one_move_to_the_next(line: Timeline) -> None:
    breaker = line.breakers["openai:gpt-4o:0"]

    assert [one.state for one in breaker] == ["closed", "open", "closed"]
    assert breaker[1].until_s - breaker[1].from_s == pytest.approx(0.8, abs=0.001)
    assert [one.state for one in line.health] == ["ok", "degraded", "ok"]


def test_dull_lines_are_left_to_the_file(line: Timeline) -> None:
    events = sorted(one.event for one in line.lines)

    assert events == ["circuit_moved", "circuit_moved", "redis_down"]


@pytest.mark.parametrize("width", [figure.WIDE, figure.NARROW])
def test_the_figure_shows_everything_and_escapes_words(line: Timeline, width: int) -> None:
    drawn = str(figure.figure(line, width))

    for kind in ("fault", "dots whole", "dots refused", "dots broken", "dots left", "state open"):
        assert f'class="{kind}"' in drawn
    assert "why=&lt;b&gt;" in drawn
    assert f'viewBox="0 0 {width} ' in drawn


def test_an_empty_history_is_drawn_too() -> None:
    assert "<svg" in str(figure.figure(timeline(History()), figure.WIDE))


def test_the_page_says_what_was_broken_what_it_cost_and_whether_it_healed(
    tmp_path: Path, history: History
) -> None:
    made = conclusion(Word.TRUE)
    folder = tmp_path / "histories" / "experiment_0"
    keep(folder, history)
    results = [dataclasses.replace(made.results[0], folder=folder)]

    text = page.document(dataclasses.replace(made, results=results))

    assert "3 of 5 requests did not get a whole answer" in text
    assert "yes: the fault is gone" in text
    assert not any(mark in text for mark in ("http://", "https://", "<script", "@import", "url("))


def test_ci_is_told_what_does_not_hold_and_nothing_of_what_does() -> None:
    made = conclusion(Word.TRUE, Word.FALSE, Word.UNKNOWN, Word.UNVERIFIED)

    summary, told = in_ci.summary(made), in_ci.remarks(made)

    assert summary.startswith("## ❌ chaos: no go: 1 of 4 experiments hold, 1 false")
    rows = [line for line in summary.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [f"experiment_{n}" for n in (1, 2, 3)]
    assert [(one.level, one.file) for one in told] == [
        ("error", "chaos/experiments/experiment_1.py"),
        ("warning", "chaos/experiments/experiment_2.py"),
    ]


def test_a_campaign_that_holds_is_one_line_in_ci() -> None:
    made = conclusion(Word.TRUE)

    assert in_ci.summary(made).splitlines() == [f"## ✅ chaos: {made.line}", ""]
    assert in_ci.remarks(made) == []
