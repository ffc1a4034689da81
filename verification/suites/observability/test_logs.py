"""The log: one JSON object a line, whatever happens, each request found by its id."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import pytest

from verification.contract import http, promises
from verification.harness import capabilities as can
from verification.harness import metrics_view
from verification.harness.claims import claim
from verification.harness.waiting import eventually, together_over

if TYPE_CHECKING:
    from verification.harness.http_client import Http
    from verification.harness.target import Target

# What only the service itself may say on stdout is promised; stderr holds what nobody expected.
LINE_FIELDS = {"event", "level", "request_id"}

# What a line of the log and a problem's body are made of: pieces that are masked break both.
PIECES = ('"event":"request"', '"request_id":', '"},{"":', "request")

# Every request leaves a line of some 200 bytes: twice what a pipe (64 KiB), the queue and what is
# taken from it at once hold; in batches of which the answers fit into the buffers of a socket.
SHORT_QUEUE = {"LOG_QUEUE_LINES": "200"}
BATCH, BATCHES = 100, 16
# How long a provider takes, so that a duration tells its unit.
SLOW_S = 0.2
# Long enough to be served, and no longer than a provider is waited for.
LEAVES_AFTER_S = 1.5
# Far beyond what a batch takes; whoever is held up is held up for good.
BATCH_WITHIN_S = 10.0
ASKED = f"GET {http.LIVE.path} HTTP/1.1\r\nHost: x\r\n".encode()


def dropped(service: Http) -> float:
    """Lines that the service says it lost; -1 when it says nothing."""
    page = service.get(http.METRICS.path, timeout_s=BATCH_WITHIN_S).text
    found = metrics_view.parse(page).value("llmhive_log_lines_dropped_total")
    return -1 if found is None else found


def batches_answered(service: Http) -> int:
    """How many batches of requests are answered to the last one, until one is not."""
    batch = (ASKED + b"\r\n") * (BATCH - 1) + ASKED + b"Connection: close\r\n\r\n"
    counts = (
        service.raw(batch, timeout_s=BATCH_WITHIN_S).count(b"HTTP/1.1 200 ") for _ in range(BATCHES)
    )
    return sum(1 for _ in takewhile(lambda count: count == BATCH, counts))


def is_object(line: str) -> bool:
    """Whether a line is one JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def lines_of(target: Target, request_id: str | None) -> list[dict[str, Any]]:
    """The request lines of one request; the log is written a moment after the answer."""
    return eventually(
        lambda: [
            line
            for line in target.logs(str(request_id))
            if line.get("event") == "request" and line.get("request_id") == request_id
        ],
        until=bool,
        within_s=3.0,
        claim=f"the log has a line for {request_id}",
    )


@claim(
    "observability.logs.json",
    proves=[promises.JSON_LOGS],
    needs=[can.USERS, can.LOGS, can.SCRIPT, can.FAULTS],
    faults=["redis", "openai"],
)
def test_every_line_is_one_json_object_also_while_things_break(target: Target) -> None:
    user = target.new_user("pro")
    target.chat(user, 'line one\nline two\r\n{"event": "forged"}')
    with target.faults.refuse("redis"), target.faults.reset("openai"):
        target.chat(user, "hello", stream=True)
    target.http.raw(b"GET / HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n", timeout_s=2.0)
    target.http.raw(b"\x16\x03\x01\x02nonsense\r\n\r\n", timeout_s=2.0)
    refused = [
        target.http.post(http.CHAT.path, headers={"Authorization": f"Bearer {each}"}, content=b"{}")
        for each in PIECES
    ]
    last = target.http.get("/api/nowhere?text=%0a%7b%7d")

    lines_of(target, last.request_id)
    found = [lines_of(target, each.request_id)[0]["route"] for each in refused]
    broken = [line for line in target.raw_log_text().splitlines() if not is_object(line)]

    assert [(each.status, each.code) for each in refused] == [(401, "invalid_api_key")] * len(
        PIECES
    )
    assert found == [http.CHAT.path] * len(PIECES)
    assert broken == []
    assert [line for line in target.logs() if not {"event", "level"} <= set(line)] == []


@claim(
    "observability.logs.request-ids",
    proves=[promises.JSON_LOGS, promises.REQUEST_ID],
    needs=[can.USERS, can.LOGS, can.SCRIPT],
    workers=2,
)
def test_each_of_many_requests_at_once_has_one_line_of_its_own(target: Target) -> None:
    users = [target.new_user("enterprise") for _ in range(2)]
    target.provider(target.providers[0]).reply(delay_s=0.2)
    own = {target.name("correlation"): users[number % 2] for number in range(30)}

    results = together_over(
        enumerate(own.items()),
        lambda each: target.chat(
            each[1][1], "hello", headers={"x-request-id": each[1][0]}, stream=each[0] % 3 == 0
        ),
    )
    found = {
        one: lines_of(target, result.request_id) for one, result in zip(own, results, strict=True)
    }

    ids = [result.request_id for result in results]
    assert len(set(ids) - set(own)) == len(own)
    assert {one: [line["correlation_id"] for line in lines] for one, lines in found.items()} == {
        one: [one] for one in own
    }
    assert [result.body["request_id"] for result in results] == ids
    lines = [(own[one], line) for one, each in found.items() for line in each]
    assert [line["worker"] for _, line in lines] == [
        str(result.served_by).rpartition("/")[2] for result in results
    ]
    # A user is the same in every worker's lines, and nobody else.
    digests = [{line["user"] for whose, line in lines if whose is user} for user in users]
    assert [len(each) for each in digests] == [1] * len(users)
    assert len(set.union(*digests)) == len(users)


@claim(
    "observability.logs.tells",
    proves=[promises.JSON_LOGS, promises.REQUEST_ID],
    needs=[can.USERS, can.LOGS, can.SCRIPT],
)
def test_a_requests_line_tells_what_was_asked_and_how_it_ended(target: Target) -> None:
    user, no_id = target.new_user("pro"), {"x-request-id": "../a b"}
    target.provider(target.providers[0]).reply(delay_s=SLOW_S)

    answers = {
        (http.CHAT.path, "POST", 200, None): target.chat(user, "hello", headers=no_id).answer,
        (http.CHAT.path, "POST", 401, "missing_api_key"): target.chat(None, "hello").answer,
        (http.CHAT.path, "POST", 422, "invalid_request"): target.chat(user, None).answer,
        (http.LEDGER.path, "GET", 401, "missing_api_key"): target.http.get(http.LEDGER.path),
        ("unmatched", "GET", 404, "not_found"): target.http.get(f"/api/{target.name()}"),
    }
    lines = [lines_of(target, answer.request_id)[0] for answer in answers.values()]

    told = [(line["route"], line["method"], line["status"], line.get("code")) for line in lines]
    assert told == list(answers)
    assert [line.get("user") is not None for line in lines] == [True, False, True, False, False]
    # What a caller sends as an id and is none is not logged.
    assert [line for line in lines if "correlation_id" in line] == []
    # Milliseconds: neither seconds nor microseconds, however slow the machine is.
    assert 1 <= lines[0]["duration_ms"] / (SLOW_S * 1000) < 500


def lines_about(target: Target, own_id: str) -> list[dict[str, Any]]:
    """The request lines with an id of the caller's own; of a request that has no answer."""
    return eventually(
        lambda: [line for line in target.logs(own_id) if line.get("event") == "request"],
        until=bool,
        within_s=5.0,
        claim=f"the log has a line for {own_id}",
    )


@claim(
    "observability.logs.caller-left",
    proves=[promises.JSON_LOGS, promises.ERRORS_SHOWN],
    needs=[can.USERS, can.LOGS, can.METRICS, can.SCRIPT],
)
@pytest.mark.parametrize("way", ["plain", "streamed"])
def test_a_caller_that_left_is_told_as_499_and_is_no_error(way: str, target: Target) -> None:
    user, own = target.new_user("pro"), target.name("correlation")
    stream = way == "streamed"
    held: dict[str, Any] = {"chunks": ["some ", "more"], "hold_after_chunks": 1} if stream else {}
    for name in target.providers:
        target.provider(name).reply(hold="never", **held)
    before = target.settled_metrics()

    result = target.chat(
        user,
        "hello",
        stream=stream,
        headers={"x-request-id": own},
        timeout_s=30.0 if stream else LEAVES_AFTER_S,
        leave_when=lambda body: b"some" in body,
    )
    lines, after = lines_about(target, own), target.settled_metrics()

    def grown(name: str, **labels: str) -> float:
        return after.sum(name, **labels) - before.sum(name, **labels)

    assert result.error == ("left" if stream else "read_timeout")
    assert [(line["route"], line["status"]) for line in lines] == [(http.CHAT.path, 499)]
    assert grown("llmhive_http_requests_total", route=http.CHAT.path, status="499") == 1
    assert grown("llmhive_http_requests_total", route=http.CHAT.path) == 1
    assert grown("llmhive_stream_ends_total", outcome="caller_left") == int(stream)
    assert (grown("llmhive_caller_left_total"), grown("llmhive_errors_total")) == (1, 0)


@claim(
    "observability.logs.level",
    proves=[promises.LOG_LEVEL],
    needs=[can.LOGS, can.FAULTS],
    env={"LOG_LEVEL": "WARNING"},
    faults=["redis"],
)
def test_the_level_leaves_out_what_lies_below_it_and_nothing_else(target: Target) -> None:
    target.http.get(http.HEALTH.path)  # its line, if there is one, comes before the warning
    with target.faults.refuse("redis"):
        warned = eventually(
            lambda: [line for line in target.logs() if line.get("event") == "redis_moved"],
            until=bool,
            within_s=5.0,
            claim="the loss of Redis is logged as a warning",
        )

    levels = {str(line["level"]).lower() for line in target.logs() if line["event"] != "listening"}
    assert {str(line["level"]).lower() for line in warned} == {"warning"}
    assert levels <= {"warning", "error", "critical"}


@claim("observability.logs.callers-id", proves=[promises.REQUEST_ID], needs=[can.USERS])
def test_a_callers_id_correlates_and_names_nothing(target: Target) -> None:
    user = target.new_user("pro")
    given = ["same-id", "same-id", "x" * 5000, "../../etc", "a b"]

    ids = [target.chat(user, "hello", headers={"x-request-id": one}).request_id for one in given]

    assert len(set(ids)) == len(given)
    assert [one for one in ids if not re.fullmatch(r"[A-Za-z0-9_-]{8,64}", str(one))] == []


@claim(
    "observability.logs.unread", proves=[promises.LOGS_NEVER_BLOCK], needs=[can.RESTART, can.SHRINK]
)
def test_a_log_that_nobody_reads_holds_up_no_request_and_what_is_lost_is_counted(
    target: Target,
) -> None:
    with target.beside(SHORT_QUEUE, is_read=False) as (beside, _):
        before = dropped(beside)
        answered = batches_answered(beside)
        after = dropped(beside)

    assert (before, answered) == (0, BATCHES)
    assert 0 < after < BATCH * BATCHES
