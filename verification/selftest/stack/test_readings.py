"""What is read of a service: metrics, log lines, streams and keys, each as it was written."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

import pytest

from verification.harness import metrics_view
from verification.harness.chat_result import ChatResult, parse_events
from verification.harness.http_client import Answer, Request
from verification.harness.redis_view import RedisView
from verification.harness.service_logs import ServiceLogs
from verification.harness.stack import defaults, programs, servers
from verification.history import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = """\
# HELP calls_total Calls.
# TYPE calls_total counter
calls_total{service="openai:gpt-4o:0",outcome="success"} 3
calls_total{service="anthropic",outcome="success"} 4.0
plain 1e3
odd{text="a\\"b\\nc,d}"} 1
nan NaN
"""


def answer(*chunks: bytes, status: int = 200, error: str | None = None) -> Answer:
    """An answer of those chunks, one second apart."""
    return Answer(
        request=Request(method="POST", url="http://x/api/chat", headers=(), body=b""),
        status=status,
        body=b"".join(chunks),
        chunks=tuple((float(at), chunk) for at, chunk in enumerate(chunks)),
        sent_s=0,
        done_s=1,
        error=error,
    )


def test_metrics_are_found_by_name_and_labels() -> None:
    metrics = metrics_view.parse(PAGE)

    assert metrics.value("calls_total", service="anthropic") == 4
    assert metrics.sum("calls_total", outcome="success") == 7
    assert (metrics.value("plain"), metrics.value("absent"), metrics.sum("absent")) == (
        1000,
        None,
        0,
    )


def test_a_value_that_could_be_two_is_an_error() -> None:
    with pytest.raises(LookupError, match="2 samples"):
        metrics_view.parse(PAGE).value("calls_total")


def test_escaped_labels_are_read_as_they_were() -> None:
    assert metrics_view.parse(PAGE).select("odd")[0].labels == {"text": 'a"b\nc,d}'}
    assert metrics_view.parse(PAGE).types() == {"calls_total": "counter"}


def test_an_event_split_anywhere_is_one_event() -> None:
    events = parse_events(answer(b"event: tok", b'en\ndata: {"text": "\xc3', b'\xa4"}\n', b"\n"))

    assert [(event.event, event.data, event.at_s) for event in events] == [
        ("token", {"text": "ä"}, 3.0)
    ]


def test_an_event_without_its_end_is_none() -> None:
    assert parse_events(answer(b'event: token\ndata: {"text": "a"}\n')) == ()


def test_a_stream_is_whole_only_with_its_done() -> None:
    whole = answer(b'event: token\ndata: {"text": "a"}\n\nevent: done\ndata: {"usage": {}}\n\n')
    cut = answer(b'event: token\ndata: {"text": "a"}\n\n', error="closed")

    results = [ChatResult(answer=one, events=parse_events(one)) for one in (whole, cut)]

    assert [result.outcome for result in results] == [Outcome.OK, Outcome.INFO]
    assert [result.reply for result in results] == ["a", "a"]


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (200, None, Outcome.OK),
        (429, None, Outcome.FAIL),
        (503, None, Outcome.INFO),
        (0, "refused", Outcome.FAIL),
        (0, "read_timeout", Outcome.INFO),
        (200, "closed", Outcome.INFO),
    ],
)
def test_an_outcome_says_only_what_is_certain(
    status: int, error: str | None, outcome: Outcome
) -> None:
    assert ChatResult(answer=answer(b"{}", status=status, error=error)).outcome is outcome


def test_a_claim_sees_only_its_own_log_lines(tmp_path: Path) -> None:
    file = tmp_path / "service.out"
    logs = ServiceLogs()
    logs.add(file)
    file.write_text('{"event": "old"}\n')

    logs.begin()
    file.write_text('{"event": "old"}\n{"event": "new"}\nno json\n')

    assert logs.lines() == [{"event": "new"}]
    assert logs.not_json() == ["no json"]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisView]:
    """A Redis of this test's own."""
    server = servers.start_redis(programs.redis_server(), tmp_path, "secret")
    view = RedisView(server.url)
    yield view
    view.close()
    server.stop()


def test_keys_are_read_with_their_kind_life_and_content(redis: RedisView) -> None:
    redis.operator_sets("a:hash", {"n": "1"}, ttl_s=50)
    redis.command("SET", "a:text", "x")
    redis.command("ZADD", "b:zset", "2", "member")

    found = {view.name: (view.kind, view.content) for view in redis.dump("a:*")}

    assert found == {"a:hash": ("hash", {"n": "1"}), "a:text": ("string", "x")}
    assert redis.ttl("a:hash") == pytest.approx(50, abs=5)
    assert (redis.ttl("a:text"), redis.zset("b:zset")) == (None, {"member": 2.0})


def test_a_key_that_is_not_there_has_no_life(redis: RedisView) -> None:
    with pytest.raises(KeyError):
        redis.ttl("nothing")


def test_every_stack_has_canaries_of_its_own() -> None:
    first, second = astuple(defaults.new_canaries()), astuple(defaults.new_canaries())

    assert len({*first, *second}) == 2 * len(first)


def test_every_secret_in_the_settings_is_known() -> None:
    settings = {"STRIPE_WEBHOOK_SECRET": "a, b", "REDIS_URL": "redis://:c@h:1/0", "LOG_LEVEL": "d"}

    assert defaults.secrets_in(settings) == {
        "STRIPE_WEBHOOK_SECRET": "a",
        "STRIPE_WEBHOOK_SECRET 2": "b",
        "REDIS_URL password": "c",
    }


def test_every_shrunk_setting_has_its_reason() -> None:
    assert all(reason for _, reason in defaults.SHRUNK.values())
