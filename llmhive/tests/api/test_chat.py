"""The chat route: what is refused before anybody is asked, and how every answer ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from llmhive.app.accounts.model import KeyRefusedError, Principal
from llmhive.app.api.application import Message
from llmhive.app.api.chat import ChatApp, ChatRouteConfig, chat_route
from llmhive.app.api.identity import Identity
from llmhive.app.orchestration.retries import AttemptEnd
from llmhive.app.telemetry.request_record import RequestRecord, record_of
from llmhive.tests.orchestration.chat_parts import (
    END,
    GOOD,
    HANG,
    After,
    Piece,
    Scene,
    ScriptedProvider,
    Step,
    failure,
)
from llmhive.tests.orchestration.virtual_time import LoopClock, in_virtual_time, wait

BODY = b'{"message":"hi there"}'
STREAM = b'{"message":"hi there","stream":true}'
LIMIT_FIELD = (b"ratelimit", b'"requests";r=1;t=1')
BODY_BYTES_MAX = 500


async def authenticate(authorization: str | None) -> Principal:
    """Know one key."""
    if authorization != "Bearer good":
        raise KeyRefusedError
    return Principal("ada", "free", frozenset({"chat"}), "key_1")


class Exchange:
    """One request on an ASGI connection, and all that came back."""

    def __init__(
        self,
        body: bytes | Sequence[bytes] = BODY,
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        key: bytes = b"good",
        leaves_after_s: float = 1e8,
        reads_for_s: float = 1e8,
    ) -> None:
        self._pieces = [body] if isinstance(body, bytes) else list(body)
        self._leaves_after_s = leaves_after_s
        self._reads_for_s = reads_for_s
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/api/chat",
            "headers": [(b"authorization", b"Bearer " + key), *headers],
        }
        self.sent: list[Message] = []
        self.received = 0

    async def receive(self) -> Message:
        self.received += 1
        if self._pieces:
            piece = self._pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}
        await wait(self._leaves_after_s)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.sent and len(self.sent) > 1 and self._reads_for_s < 1e8:
            await wait(self._reads_for_s)
        self.sent.append(message)

    async def run(self, scene: Scene, **config: Any) -> Exchange:
        route = ChatRouteConfig(
            models={"gpt-4o", "claude"}, body_bytes_max=BODY_BYTES_MAX, **config
        )
        app = ChatApp(scene.chat, Identity(authenticate), route, clock=LoopClock())
        await app(self.scope, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def text(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def told(self) -> Any:
        return orjson.loads(self.text)

    @property
    def events(self) -> list[tuple[str, Any]]:
        """The stream's events as name and data."""
        blocks = self.text.decode().removesuffix("\n\n").split("\n\n")
        pairs = [block.split("\n") for block in blocks]
        return [
            (name.removeprefix("event: "), orjson.loads(data.removeprefix("data: ")))
            for name, data in pairs
        ]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    @property
    def is_whole(self) -> bool:
        ends = [m for m in self.sent[1:] if not m.get("more_body", False)]
        return len(ends) == 1 and self.sent[-1] is ends[0]

    @property
    def record(self) -> RequestRecord:
        return record_of(self.scope)


def answering(*steps: Step) -> Scene:
    return Scene([ScriptedProvider(steps=list(steps))])


def streaming(*pieces: Piece) -> Scene:
    return Scene([ScriptedProvider(streams=[list(pieces)])])


# -- plain answers


@in_virtual_time
async def test_an_answer_has_all_its_fields() -> None:
    exchange = await Exchange().run(answering(GOOD))

    told = exchange.told
    assert told.pop("id") == exchange.record.request_id.replace("req_", "chat_")
    assert told == {
        "reply": "hello",
        "provider": "openai",
        "model": "gpt-4o",
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
        "iterations": 1,
        "partial": False,
        "finish_reason": "stop",
        "request_id": exchange.record.request_id,
    }


@in_virtual_time
async def test_a_callers_own_id_names_nothing() -> None:
    exchange = await Exchange(headers=[(b"x-request-id", b"req_callers")]).run(answering(GOOD))

    assert b"callers" not in exchange.text


@in_virtual_time
async def test_an_answer_has_its_length_and_the_limits() -> None:
    exchange = await Exchange().run(answering(GOOD))

    assert exchange.status == 200
    assert exchange.headers[b"content-length"] == str(len(exchange.text)).encode()
    assert LIMIT_FIELD in exchange.sent[0]["headers"]


@in_virtual_time
async def test_the_conversation_is_given_back() -> None:
    body = b'{"message":"hi","conversation_id":"c-1"}'

    exchange = await Exchange(body).run(answering(GOOD))

    assert exchange.told["conversation_id"] == "c-1"


@pytest.mark.parametrize("message", ["{", "{x}", "{0.__class__}", "%s", "${x}", "a\x00b", "👩‍👩‍👧"])
@in_virtual_time
async def test_a_message_reaches_the_provider_verbatim(message: str) -> None:
    scene = answering(GOOD)

    await Exchange(orjson.dumps({"message": message})).run(scene)

    assert scene.providers[0].asked[0].message == message


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([(b"content-type", b"application/x-www-form-urlencoded")], id="curl"),
        pytest.param([(b"content-type", b"application/json; charset=utf-8")], id="json"),
        pytest.param([], id="none"),
    ],
)
@in_virtual_time
async def test_json_needs_no_content_type(headers: list[tuple[bytes, bytes]]) -> None:
    exchange = await Exchange(headers=headers).run(answering(GOOD))

    assert exchange.status == 200


# -- refusals


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b"", 400, "malformed_json", id="nothing"),
        pytest.param(b"{", 400, "malformed_json", id="cut"),
        pytest.param(b'{"message":"\\ud800"}', 400, "malformed_json", id="lone-surrogate"),
        pytest.param(b'{"message":"\xff"}', 400, "malformed_json", id="not-utf8"),
        pytest.param(b"[" * 400, 400, "malformed_json", id="deep"),
        pytest.param(b"NaN", 422, "invalid_request", id="nan"),
        pytest.param(b'{"message":NaN}', 422, "invalid_request", id="nan-message"),
        pytest.param(b"[]", 422, "invalid_request", id="list"),
        pytest.param(b'{"message":""}', 422, "invalid_request", id="empty"),
        pytest.param(b'{"message":7}', 422, "invalid_request", id="number"),
        pytest.param(b'{"message":"a","stream":1}', 422, "invalid_request", id="loose-boolean"),
        pytest.param(b'{"message":"a","model":"x"}', 422, "invalid_request", id="model"),
        pytest.param(b'{"message":"a","canary":1}', 422, "invalid_request", id="unknown-field"),
        pytest.param(b"x" * 501, 413, "body_too_large", id="large"),
    ],
)
@in_virtual_time
async def test_a_wrong_body_is_refused_without_being_quoted(
    body: bytes, status: int, code: str
) -> None:
    exchange = await Exchange(body).run(answering())

    assert (exchange.status, exchange.told["code"]) == (status, code)
    assert b"canary" not in exchange.text
    assert exchange.record.error_code == code


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"content-type", b"multipart/form-data; boundary=x")], 415),
        ([(b"content-encoding", b"gzip")], 415),
        ([(b"content-length", b"501")], 413),
        ([(b"content-length", b"9" * 400)], 413),
    ],
)
@in_virtual_time
async def test_headers_alone_can_be_reason_enough(
    headers: list[tuple[bytes, bytes]], status: int
) -> None:
    exchange = await Exchange(headers=headers).run(answering())

    assert (exchange.status, exchange.received) == (status, 0)


@in_virtual_time
async def test_a_large_body_is_refused_while_it_is_read() -> None:
    exchange = await Exchange([b"x" * 300] * 10).run(answering())

    assert (exchange.status, exchange.received) == (413, 2)


@in_virtual_time
async def test_nothing_of_a_body_is_read_before_the_key() -> None:
    exchange = await Exchange(key=b"bad").run(answering())

    assert (exchange.status, exchange.received) == (401, 0)
    assert exchange.headers[b"www-authenticate"] == b"Bearer"


@in_virtual_time
async def test_a_refusal_by_a_limit_tells_the_limits() -> None:
    scene = answering()
    scene.limiter.refused_by = "requests"

    exchange = await Exchange().run(scene)

    assert (exchange.status, exchange.told["code"]) == (429, "rate_limited")
    assert exchange.headers[b"retry-after"] == b"9"
    assert LIMIT_FIELD in exchange.sent[0]["headers"]


@pytest.mark.parametrize("body", [BODY, STREAM])
@in_virtual_time
async def test_no_provider_is_a_503_with_a_wait_and_the_limits(body: bytes) -> None:
    scene = Scene([ScriptedProvider()])
    scene.breakers.open_for = {"openai:0": 21.0}

    exchange = await Exchange(body).run(scene)

    assert (exchange.status, exchange.told["code"]) == (503, "no_provider_available")
    assert exchange.headers[b"retry-after"] == b"21"
    assert LIMIT_FIELD in exchange.sent[0]["headers"]


@pytest.mark.parametrize("end", list(AttemptEnd))
@in_virtual_time
async def test_no_failure_of_a_provider_is_passed_on_as_it_came(end: AttemptEnd) -> None:
    scene = answering(*[failure(end, wait_s=1000)] * 3)

    exchange = await Exchange().run(scene)

    assert exchange.told["code"] in {"no_provider_available", "invalid_request"}
    assert exchange.status in {503, 422}


# -- time


@pytest.mark.parametrize(
    ("body", "scene"),
    [
        pytest.param(BODY, lambda: answering(HANG), id="plain"),
        pytest.param(STREAM, lambda: streaming(HANG), id="stream"),
    ],
)
@in_virtual_time
async def test_out_of_time_is_a_504_on_the_dot(body: bytes, scene: Any) -> None:
    started_s = asyncio.get_running_loop().time()

    exchange = await Exchange(body).run(scene(), wall_clock_s=20)

    assert asyncio.get_running_loop().time() - started_s == pytest.approx(20, abs=0.01)
    assert (exchange.status, exchange.told["code"]) == (504, "wall_clock_exhausted")


@in_virtual_time
async def test_a_body_that_never_ends_ends_by_the_wall_clock() -> None:
    class Slow(Exchange):
        async def receive(self) -> Message:
            await wait(9)
            return {"type": "http.request", "body": b" ", "more_body": True}

    exchange = await Slow().run(answering(), wall_clock_s=20)

    assert exchange.status == 504


@in_virtual_time
async def test_a_stream_out_of_time_ends_in_an_error_event() -> None:
    scene = streaming("he", *[After(9, "")] * 9)

    exchange = await Exchange(STREAM).run(scene, wall_clock_s=20)

    assert exchange.names == ["token", "error"]
    assert exchange.events[-1][1]["code"] == "wall_clock_exhausted"
    assert scene.breakers.reports == ["neutral"]


# -- streams


@in_virtual_time
async def test_a_stream_is_tokens_and_one_done() -> None:
    exchange = await Exchange(STREAM).run(streaming("he", "l\nlo", END))

    assert exchange.names == ["token", "token", "done"]
    assert exchange.events[1][1] == {"text": "l\nlo"}
    assert exchange.is_whole


@in_virtual_time
async def test_done_says_what_a_plain_answer_says_but_the_reply() -> None:
    exchange = await Exchange(STREAM).run(streaming("hello", END))

    told = exchange.events[-1][1]
    assert " ".join(sorted(told)) == (
        "finish_reason id iterations model partial provider request_id usage"
    )


@in_virtual_time
async def test_a_stream_is_declared_as_one() -> None:
    exchange = await Exchange(STREAM).run(streaming("hello", END))

    assert exchange.headers[b"content-type"].startswith(b"text/event-stream")
    assert exchange.headers[b"cache-control"] == b"no-store"
    assert LIMIT_FIELD in exchange.sent[0]["headers"]


@in_virtual_time
async def test_a_stream_that_breaks_ends_in_one_error_event() -> None:
    scene = streaming("he", failure(AttemptEnd.INCOMPLETE))

    exchange = await Exchange(STREAM).run(scene)

    assert exchange.names == ["token", "error"]
    assert exchange.events[-1][1] == {
        "code": "no_provider_available",
        "detail": "The answer broke off and is incomplete.",
        "request_id": exchange.record.request_id,
        "retry_after": 5,
    }
    assert exchange.is_whole


@in_virtual_time
async def test_our_own_bug_ends_a_stream_too_and_is_not_hidden() -> None:
    class Buggy(ScriptedProvider):
        async def _passed(self, step: object) -> object:
            if step == "bug":
                raise ZeroDivisionError
            return step

    scene = Scene([Buggy(streams=[["he", "bug"]])])
    exchange = Exchange(STREAM)

    with pytest.raises(ZeroDivisionError):
        await exchange.run(scene)

    assert exchange.names == ["token", "error"]
    assert exchange.events[-1][1]["code"] == "internal_error"
    assert scene.limiter.open_seats == 0


@in_virtual_time
async def test_a_caller_that_stops_reading_does_not_hold_the_request_for_ever() -> None:
    scene = streaming("a", "b", "c", END)
    started_s = asyncio.get_running_loop().time()

    await Exchange(STREAM, reads_for_s=1000).run(scene, wall_clock_s=20)

    assert asyncio.get_running_loop().time() - started_s < 22
    assert (scene.limiter.open_seats, scene.providers[0].hung_up) == (0, 1)


@in_virtual_time
async def test_nothing_follows_done_even_if_the_time_runs_out_then() -> None:
    scene = streaming("hello", END, After(60, ""))

    exchange = await Exchange(STREAM).run(scene, wall_clock_s=20)

    assert exchange.names == ["token", "done"]
    assert exchange.is_whole


# -- leaving and draining


@pytest.mark.parametrize(
    ("body", "scene"),
    [
        pytest.param(BODY, lambda: answering(HANG), id="plain"),
        pytest.param(STREAM, lambda: streaming(HANG), id="before-the-first-token"),
        pytest.param(STREAM, lambda: streaming("he", HANG), id="after-the-first-token"),
    ],
)
@in_virtual_time
async def test_a_caller_that_leaves_ends_everything_at_once(body: bytes, scene: Any) -> None:
    stage: Scene = scene()
    started_s = asyncio.get_running_loop().time()

    exchange = await Exchange(body, leaves_after_s=2).run(stage)

    assert asyncio.get_running_loop().time() - started_s == pytest.approx(2, abs=0.01)
    assert (stage.limiter.open_seats, stage.breakers.reports) == (0, ["neutral"])
    assert exchange.record.caller_left


@in_virtual_time
async def test_a_caller_that_leaves_is_told_nothing_more() -> None:
    exchange = await Exchange(BODY, leaves_after_s=2).run(answering(HANG))

    assert exchange.sent == []


@in_virtual_time
async def test_a_caller_that_leaves_before_its_request_is_whole_costs_nothing() -> None:
    class Torn(Exchange):
        async def receive(self) -> Message:
            return {"type": "http.disconnect"}

    scene = answering()
    exchange = await Torn().run(scene)

    assert (exchange.sent, exchange.record.caller_left) == ([], True)
    assert scene.limiter.reserved == []


@in_virtual_time
async def test_a_caller_that_leaves_does_not_leave_its_task_cancelled() -> None:
    await Exchange(BODY, leaves_after_s=2).run(answering(HANG))

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@in_virtual_time
async def test_the_end_of_the_process_ends_a_stream_by_an_error_event() -> None:
    scene = streaming("he", HANG)
    exchange = Exchange(STREAM)
    work = asyncio.create_task(exchange.run(scene))

    await wait(1)
    work.cancel()
    await asyncio.wait([work])

    assert work.cancelled()
    assert exchange.names == ["token", "error"]
    assert exchange.events[-1][1]["code"] == "draining"


@in_virtual_time
async def test_the_end_of_the_process_gives_everything_back() -> None:
    scene = answering(HANG)
    work = asyncio.create_task(Exchange().run(scene))

    await wait(1)
    work.cancel()
    await asyncio.wait([work])

    assert (scene.limiter.open_seats, scene.breakers.reports) == (0, ["neutral"])


@pytest.mark.parametrize(
    ("body", "scene"),
    [
        pytest.param(BODY, lambda: answering(GOOD), id="plain"),
        pytest.param(STREAM, lambda: streaming("hello", END), id="stream"),
    ],
)
@in_virtual_time
async def test_no_task_is_left_behind(body: bytes, scene: Any) -> None:
    await Exchange(body).run(scene())
    await wait(0.1)

    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_the_document_names_every_schema_that_it_refers_to() -> None:
    scene = Scene([ScriptedProvider()])
    route = chat_route(
        scene.chat, Identity(authenticate), ChatRouteConfig({"m"}), clock=LoopClock()
    )

    text = orjson.dumps([route.operation, route.schemas]).decode()
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}

    assert names <= set(route.schemas)
    assert names >= {"ChatBody", "ChatReply", "ProblemReply"}
