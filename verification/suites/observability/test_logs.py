"""The log: one JSON object a line, whatever happens, each request found by its id."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from typing import TYPE_CHECKING, Any

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
    user = target.new_user("enterprise")
    target.provider(target.providers[0]).reply(delay_s=0.2)
    own = [target.name("correlation") for _ in range(30)]

    results = together_over(
        own, lambda one: target.chat(user, "hello", headers={"x-request-id": one})
    )
    found = {
        one: lines_of(target, result.request_id) for one, result in zip(own, results, strict=True)
    }

    ids = [result.request_id for result in results]
    assert len(set(ids) - set(own)) == len(own)
    assert {one: [line["correlation_id"] for line in lines] for one, lines in found.items()} == {
        one: [one] for one in own
    }
    assert [len({line.get("user") for line in lines}) for lines in found.values()] == [1] * len(own)


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
