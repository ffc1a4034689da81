"""Log lines: JSON always, masked before they are cut, and never holding anybody up."""

from __future__ import annotations

import logging
import os
from typing import Any

import orjson
import pytest

from llmhive.app.errors import CallerError
from llmhive.app.safety.masking import MASK, PRESENTED, Masker
from llmhive.app.telemetry import foreign_logs, log
from llmhive.app.telemetry.request_record import CURRENT, RequestRecord

Events = list[dict[str, Any]]


def test_a_line_carries_the_request_at_hand(events: Events) -> None:
    token = CURRENT.set(RequestRecord("req_1"))

    log.event("something_happened", count=3)

    CURRENT.reset(token)
    assert events[0]["request_id"] == "req_1"
    assert (events[0]["event"], events[0]["count"]) == ("something_happened", 3)


@pytest.mark.parametrize(
    "value",
    ["line\nbreak", "lone \ud800 surrogate", 2**70, object(), {1: {"a": [b"x"]}}, float("nan")],
    ids=["newline", "surrogate", "large", "object", "nested", "nan"],
)
def test_whatever_is_logged_is_one_json_line(value: object) -> None:
    lines: list[bytes] = []
    log.start(lines.append, mask=None)

    log.event("odd", value=value)

    log.stop()
    assert len(lines) == 1
    assert lines[0].count(b"\n") == 1
    assert orjson.loads(lines[0])["event"] == "odd"


def test_a_long_line_is_cut_only_after_it_was_masked() -> None:
    secret = "canary" * 20
    lines: list[bytes] = []
    log.start(lines.append, mask=Masker([secret]).values)

    log.event("long", text=(secret + " ") * 200)

    log.stop()
    assert len(lines[0]) <= log.LINE_BYTES_MAX
    assert b"canary" not in lines[0]
    assert orjson.loads(lines[0])["event"] == "long"


@pytest.mark.parametrize(
    "presented",
    ['"event":"request"', '"request_id":', "request", '"},{"":', "123456789"],
    ids=["pair", "name", "event", "punctuation", "number"],
)
def test_what_a_caller_presents_never_breaks_a_line_or_hides_it(presented: str) -> None:
    lines: list[bytes] = []
    log.start(lines.append, mask=Masker().values)
    token = PRESENTED.set((presented,))

    log.event("request", count=123456789, path=f"/of/{presented}")

    PRESENTED.reset(token)
    log.stop()
    told = orjson.loads(lines[0])
    assert (told["event"], told["count"], told["path"]) == ("request", 123456789, f"/of/{MASK}")


def test_lines_below_the_level_are_not_written() -> None:
    lines: list[bytes] = []
    log.start(lines.append, level="WARNING", mask=None)

    log.event("quiet")
    log.event("loud", level="error")
    log.announcement("listening")

    log.stop()
    assert [orjson.loads(line)["event"] for line in lines] == ["loud", "listening"]


def test_a_foreign_error_is_told_by_type_and_place_never_by_its_words(events: Events) -> None:
    sent = "what the caller wrote"
    try:
        int(sent)
    except ValueError as error:
        log.failure("broken", error)

    assert "what the caller wrote" not in str(events)
    assert "ValueError" in events[0]["traceback"]
    assert "test_log_lines.py" in events[0]["traceback"]


def test_an_error_of_our_own_is_told_with_its_words(events: Events) -> None:
    log.failure("refused", CallerError("subject, expected, got"))

    assert events[0]["message"] == "subject, expected, got"


def test_what_libraries_log_becomes_an_event(events: Events) -> None:
    record = logging.LogRecord("lib", logging.WARNING, "f", 1, "first %s\nsecond", ("line",), None)

    foreign_logs.EventHandler().emit(record)

    assert events[0]["text"] == "first line"
    assert (events[0]["logger"], events[0]["level"]) == ("lib", "warning")


def test_a_users_hash_depends_on_the_salt() -> None:
    log.start(lambda _line: None, salt=b"one", mask=None)
    one = log.user_digest("ann@example.com")
    log.start(lambda _line: None, salt=b"two", mask=None)
    two = log.user_digest("ann@example.com")

    log.stop()
    assert one != two
    assert "ann" not in one


def test_a_full_pipe_drops_lines_and_holds_nobody_up() -> None:
    reader, writer = os.pipe()
    dropped: list[int] = []
    lines = log.LineWriter(writer, capacity=10, on_drop=dropped.append)

    for _ in range(200):
        lines(b"x" * 4000 + b"\n")
    count_while_full = len(dropped)
    os.close(reader)  # the writer's thread ends on a broken pipe
    lines.close(within_s=5.0)

    os.close(writer)
    assert count_while_full > 100


def test_what_was_dropped_is_told_once_there_is_room() -> None:
    reader, writer = os.pipe()
    lines = log.LineWriter(writer, capacity=2)

    for number in range(20):
        lines(b'{"number":%d}\n' % number)
    lines.close(within_s=5.0)
    os.close(writer)
    with os.fdopen(reader, "rb") as read:
        told = [orjson.loads(line) for line in read]

    written = [line for line in told if "number" in line]
    lost = sum(line["count"] for line in told if line.get("event") == "log_lines_dropped")
    assert len(written) + lost == 20
    assert lost > 0


def test_whoever_writes_directly_drops_what_a_full_pipe_does_not_take_and_says_so() -> None:
    reader, writer = os.pipe()
    lines = log.DirectWriter(writer)

    for _ in range(200):
        lines(b"x" * 4000 + b"\n")
    taken = os.read(reader, 1 << 20).count(b"\n")
    lines(b"there is room\n")
    told, last = os.read(reader, 1 << 20).splitlines()
    for end in (reader, writer):
        os.close(end)

    assert 0 < taken < 200
    assert (orjson.loads(told)["event"], orjson.loads(told)["count"]) == (
        "log_lines_dropped",
        200 - taken,
    )
    assert last == b"there is room"


def test_whoever_writes_directly_survives_a_reader_that_is_gone() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    log.DirectWriter(writer)(b"to nobody\n")

    with pytest.raises(BrokenPipeError):
        os.write(writer, b"to nobody either\n")
    os.close(writer)


def test_whoever_writes_directly_leaves_the_pipe_as_others_have_it() -> None:
    reader, writer = os.pipe()

    log.DirectWriter(writer)

    assert os.get_blocking(writer)
    for end in (reader, writer):
        os.close(end)
