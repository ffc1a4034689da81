"""Histories: appended by many threads, written and read back, refused when they cannot be."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verification.harness.waiting import together
from verification.history import History, HistoryError, Operation, Outcome

VALUES = st.dictionaries(
    st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text(max_size=8)
)


def test_operations_are_numbered_in_the_order_in_which_they_are_added() -> None:
    history = History()

    together(
        8, lambda: history.add(process="p", f="chat", outcome="ok", started_s=1.0, finished_s=2.0)
    )

    assert [operation.index for operation in history] == list(range(8))


@given(values=st.lists(VALUES, max_size=4), outcome=st.sampled_from(Outcome))
def test_a_history_reads_back_as_it_was_written(
    values: list[dict[str, object]], outcome: Outcome
) -> None:
    history = History()
    for value in values:
        history.add(
            process="p\n", f="chat", value=value, outcome=outcome, started_s=0.1, finished_s=0.25
        )

    assert list(History.from_json_lines(history.to_json_lines())) == list(history)


def test_a_file_of_a_history_is_one_line_for_each_operation(tmp_path: Path) -> None:
    history = History()
    history.add(process="p", f="chat", outcome="info", started_s=1.0, finished_s=2.0, evidence="r")

    history.write(tmp_path / "history.jsonl")

    assert (tmp_path / "history.jsonl").read_text().count("\n") == 1
    assert History.read(tmp_path / "history.jsonl")[0].evidence == "r"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("{", id="no-json"),
        pytest.param("[]", id="no-operation"),
        pytest.param('{"index": 0, "process": "p"}', id="half-an-operation"),
        pytest.param(
            '{"index": 7, "process": "p", "f": "x", "value": {}, "outcome": "ok",'
            ' "started_s": 1, "finished_s": 2, "evidence": null}',
            id="wrong-index",
        ),
    ],
)
def test_a_broken_line_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(HistoryError, match=r"kept\.jsonl, line 1"):
        History.from_json_lines(line, name="kept.jsonl")


def test_an_operation_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(HistoryError, match="expected started_s <= finished_s"):
        History().add(process="p", f="chat", outcome="ok", started_s=2.0, finished_s=1.0)


@pytest.mark.parametrize(
    ("outcome", "ends_s"), [(Outcome.OK, 2.0), (Outcome.FAIL, 2.0), (Outcome.INFO, math.inf)]
)
def test_an_effect_of_unknown_fate_may_come_at_any_later_time(
    outcome: Outcome, ends_s: float
) -> None:
    assert Operation(0, "p", "chat", {}, outcome, 1.0, 2.0).effect_ends_s == ends_s
