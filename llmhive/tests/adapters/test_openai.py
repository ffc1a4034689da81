"""OpenAI's wire: what is sent, what is taken for an answer, and what is not."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import respx

from llmhive.app.adapters.openai import OpenAIProvider
from llmhive.app.orchestration.model import Completion, FinishReason, StreamEnd, Usage
from llmhive.app.orchestration.retries import AttemptEnd
from llmhive.tests.adapters.provider_wire import (
    ASK,
    KEY,
    Pieces,
    end_of,
    router_and_arguments,
    streamed,
)

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "größer", "refusal": None},
            "finish_reason": "stop",
        }
    ],
    "usage": USAGE,
}


def wired() -> tuple[OpenAIProvider, respx.Route]:
    router, arguments = router_and_arguments()
    route = router.post("http://provider.test/v1/chat/completions")
    return OpenAIProvider(model="gpt-4o", **arguments), route


def chunk(content: str | None = None, reason: str | None = None, **more: object) -> bytes:
    delta = {} if content is None else {"content": content}
    told = {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more}
    return b"data: " + json.dumps(told, ensure_ascii=False).encode() + b"\n\n"


def answer_with(**choice: object) -> dict[str, Any]:
    return {**ANSWER, "choices": [{**ANSWER["choices"][0], **choice}]}


USAGE_CHUNK = b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\n"
DONE = b"data: [DONE]\n\n"
WHOLE = (
    chunk("", obfuscation="xyz")
    + b": OPENROUTER PROCESSING\r\n\r\n"
    + chunk("größer ")
    + chunk("👩‍👩‍👧 漢字")
    + chunk(reason="stop")
    + USAGE_CHUNK
    + DONE
)
WHOLE_TEXT = "größer 👩‍👩‍👧 漢字"
WHOLE_END = StreamEnd(FinishReason.STOP, Usage(9, 3))


async def test_a_request_is_spelt_as_the_vendor_wants_it() -> None:
    provider, route = wired()
    route.respond(json=ANSWER)

    await provider.complete(ASK)

    request = route.calls.last.request
    assert json.loads(request.content) == {
        "model": "gpt-4o",
        "max_completion_tokens": 50,
        "messages": [{"role": "user", "content": ASK.message}],
    }
    assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_a_stream_is_asked_for_with_its_usage() -> None:
    provider, route = wired()
    route.respond(stream=Pieces([WHOLE]))

    await streamed(provider)

    asked = json.loads(route.calls.last.request.content)
    assert (asked["stream"], asked["stream_options"]) == (True, {"include_usage": True})


async def test_an_answer_is_read_whole() -> None:
    provider, route = wired()
    route.respond(json=ANSWER)

    answer = await provider.complete(ASK)

    assert answer == Completion("größer", FinishReason.STOP, Usage(9, 3))


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("length", FinishReason.LENGTH),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("tool_calls", FinishReason.TOOL_CALLS),
        ("function_call", FinishReason.TOOL_CALLS),
        ("brand_new", FinishReason.OTHER),
    ],
)
async def test_why_the_model_stopped_is_kept(told: str, reason: FinishReason) -> None:
    provider, route = wired()
    route.respond(json=answer_with(finish_reason=told, message={"content": None}))

    answer = await provider.complete(ASK)

    assert (answer.text, answer.finish_reason) == ("", reason)


async def test_a_refusal_of_the_model_is_a_filtered_answer() -> None:
    provider, route = wired()
    route.respond(json=answer_with(message={"content": None, "refusal": "I cannot."}))

    answer = await provider.complete(ASK)

    assert (answer.text, answer.finish_reason) == ("I cannot.", FinishReason.CONTENT_FILTER)


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": -1, "completion_tokens": 1}, {"prompt_tokens": "9"}, 7]
)
async def test_usage_that_makes_no_sense_counts_as_not_told(usage: object) -> None:
    provider, route = wired()
    route.respond(json={**ANSWER, "usage": usage})

    answer = await provider.complete(ASK)

    assert answer.usage is None


@pytest.mark.parametrize(
    ("body", "end"),
    [
        pytest.param(b"<html>busy</html>", AttemptEnd.UNREADABLE, id="html"),
        pytest.param(b"", AttemptEnd.UNREADABLE, id="nothing"),
        pytest.param(b"[]", AttemptEnd.UNREADABLE, id="list"),
        pytest.param(b"{}", AttemptEnd.UNREADABLE, id="no-choices"),
        pytest.param(b'{"choices":[]}', AttemptEnd.UNREADABLE, id="empty-choices"),
        pytest.param(b'{"choices":[7]}', AttemptEnd.UNREADABLE, id="number-for-choice"),
        pytest.param(b'{"choices":[{"finish_reason":"stop"}]}', AttemptEnd.UNREADABLE, id="mute"),
        pytest.param(
            b'{"choices":[{"message":{"content":"\xff"},"finish_reason":"stop"}]}',
            AttemptEnd.UNREADABLE,
            id="not-utf8",
        ),
        pytest.param(
            b'{"choices":[{"message":{"content":"he"},"finish_reason":null}]}',
            AttemptEnd.INCOMPLETE,
            id="no-finish-reason",
        ),
        pytest.param(
            b'{"choices":[{"message":{"content":"he"},"finish_reason":"error"}]}',
            AttemptEnd.INCOMPLETE,
            id="ended-in-error",
        ),
        pytest.param(b'{"error":{"message":"boom"}}', AttemptEnd.INCOMPLETE, id="error-in-200"),
        pytest.param(
            b'{"error":{"code":"insufficient_quota"}}',
            AttemptEnd.QUOTA_EXHAUSTED,
            id="quota-error-in-200",
        ),
    ],
)
async def test_what_is_no_whole_answer_is_a_failure(body: bytes, end: AttemptEnd) -> None:
    provider, route = wired()
    route.respond(content=body)

    error = await end_of(provider)

    assert error.end is end


@pytest.mark.parametrize(
    ("status", "error", "end"),
    [
        (429, {"code": "rate_limit_exceeded", "type": "requests"}, AttemptEnd.RATE_LIMITED),
        (429, {"code": "slow_down", "type": "rate_limit_error"}, AttemptEnd.RATE_LIMITED),
        (429, {"code": "insufficient_quota"}, AttemptEnd.QUOTA_EXHAUSTED),
        (429, {"code": "credit_balance_exhausted"}, AttemptEnd.QUOTA_EXHAUSTED),
        (429, {"code": "organization_spend_limit_exceeded"}, AttemptEnd.QUOTA_EXHAUSTED),
        (429, {"code": "project_spend_limit_exceeded"}, AttemptEnd.QUOTA_EXHAUSTED),
        (429, {"code": "organization_usage_limit_exceeded"}, AttemptEnd.QUOTA_EXHAUSTED),
        (429, {"message": "You exceeded your current quota."}, AttemptEnd.QUOTA_EXHAUSTED),
        (400, {"message": "Your credit balance is too low."}, AttemptEnd.QUOTA_EXHAUSTED),
        (400, {"code": "billing_hard_limit_reached"}, AttemptEnd.QUOTA_EXHAUSTED),
        (402, {}, AttemptEnd.QUOTA_EXHAUSTED),
        (402, {"code": "in_flight_budget_exhausted"}, AttemptEnd.RATE_LIMITED),
        (400, {"code": "context_length_exceeded"}, AttemptEnd.REQUEST_REFUSED),
        (400, {"message": "x" * 100 + " credit balance"}, AttemptEnd.REQUEST_REFUSED),
        (413, {}, AttemptEnd.REQUEST_REFUSED),
        (422, {}, AttemptEnd.REQUEST_REFUSED),
        (401, {"code": "invalid_api_key"}, AttemptEnd.CREDENTIAL_REFUSED),
        (403, {}, AttemptEnd.CREDENTIAL_REFUSED),
        (404, {"code": "model_not_found"}, AttemptEnd.CREDENTIAL_REFUSED),
        (408, {}, AttemptEnd.REQUEST_TIMEOUT),
        (409, {}, AttemptEnd.CONFLICT),
        (500, {"message": "quota service broke"}, AttemptEnd.SERVER_ERROR),
        (503, {"code": "server_is_overloaded"}, AttemptEnd.SERVER_ERROR),
        (529, {}, AttemptEnd.SERVER_ERROR),
        (302, {}, AttemptEnd.UNREADABLE),
        (204, {}, AttemptEnd.UNREADABLE),
    ],
)
async def test_a_refusal_is_told_by_its_code_and_its_status(
    status: int, error: dict[str, str], end: AttemptEnd
) -> None:
    provider, route = wired()
    route.respond(status, json={"error": error})

    refusal = await end_of(provider)

    assert refusal.end is end


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [({"retry-after": "3"}, 3.0), ({"retry-after-ms": "250"}, 0.25), ({}, None)],
)
async def test_the_asked_wait_is_kept(headers: dict[str, str], wait_s: float | None) -> None:
    provider, route = wired()
    route.respond(429, headers=headers, text="busy")

    refusal = await end_of(provider)

    assert refusal.wait_s == wait_s


async def test_nothing_that_the_provider_wrote_gets_into_an_error() -> None:
    provider, route = wired()
    route.respond(500, json={"error": {"message": "canary"}}, headers={"x-secret": "canary"})

    refusal = await end_of(provider)

    assert "canary" not in f"{refusal} {refusal.detail}"


@pytest.mark.parametrize(
    ("failure", "end"),
    [
        (httpx.ConnectError("x"), AttemptEnd.CONNECT_FAILED),
        (httpx.ConnectTimeout("x"), AttemptEnd.CONNECT_TIMED_OUT),
        (httpx.ReadTimeout("x"), AttemptEnd.TIMED_OUT),
        (httpx.ReadError("x"), AttemptEnd.CONNECTION_LOST),
        (httpx.RemoteProtocolError("x"), AttemptEnd.CONNECTION_LOST),
        (httpx.DecodingError("x"), AttemptEnd.UNREADABLE),
    ],
)
async def test_failures_of_the_connection_are_named(failure: Exception, end: AttemptEnd) -> None:
    provider, route = wired()
    route.mock(side_effect=failure)

    error = await end_of(provider)

    assert (error.end, error.__cause__) == (end, failure)


async def test_an_answer_that_breaks_off_is_incomplete() -> None:
    provider, route = wired()
    body = Pieces([b'{"choices":'], httpx.ReadError("x"))
    route.respond(stream=body)

    error = await end_of(provider)

    assert (error.end, body.is_closed) == (AttemptEnd.INCOMPLETE, True)


async def test_an_answer_without_end_is_refused() -> None:
    provider, route = wired()
    route.respond(stream=Pieces([b"x" * 1_000_000] * 5))

    error = await end_of(provider)

    assert error.end is AttemptEnd.UNREADABLE


# -- streams


@pytest.mark.parametrize("size", [1, 2, 3, 5, 4096])
async def test_a_stream_is_the_same_however_its_bytes_come(size: int) -> None:
    provider, route = wired()
    pieces = [WHOLE[at : at + size] for at in range(0, len(WHOLE), size)]
    route.respond(stream=Pieces(pieces))

    told = await streamed(provider)

    assert told == (WHOLE_TEXT, WHOLE_END)


@pytest.mark.parametrize(
    ("wire", "text", "end"),
    [
        pytest.param(chunk("he"), "he", AttemptEnd.INCOMPLETE, id="no-done"),
        pytest.param(chunk("he", "stop"), "he", AttemptEnd.INCOMPLETE, id="reason-but-no-done"),
        pytest.param(chunk("he") + DONE, "he", AttemptEnd.INCOMPLETE, id="done-but-no-reason"),
        pytest.param(
            chunk("he", "stop") + DONE.rstrip(), "he", AttemptEnd.INCOMPLETE, id="done-cut-short"
        ),
        pytest.param(chunk("he", "error") + DONE, "", AttemptEnd.INCOMPLETE, id="reason-error"),
        pytest.param(
            chunk("he") + b'data: {"error":{"message":"boom"}}\n\n' + DONE,
            "he",
            AttemptEnd.INCOMPLETE,
            id="error-event",
        ),
        pytest.param(chunk("he") + b"data: {nope\n\n", "he", AttemptEnd.UNREADABLE, id="no-json"),
        pytest.param(
            chunk("he") + b'data: {"choices":[{"delta":{"content":7}}]}\n\n',
            "he",
            AttemptEnd.UNREADABLE,
            id="number-for-text",
        ),
        pytest.param(b'{"error":{"message":"x"}}', "", AttemptEnd.INCOMPLETE, id="json-instead"),
        pytest.param(b"", "", AttemptEnd.INCOMPLETE, id="nothing"),
        pytest.param(b"data: " + b"x" * 2_000_000, "", AttemptEnd.UNREADABLE, id="endless-line"),
    ],
)
async def test_a_stream_without_proof_of_its_end_is_a_failure(
    wire: bytes, text: str, end: AttemptEnd
) -> None:
    provider, route = wired()
    body = Pieces([wire])
    route.respond(stream=body)

    told = await streamed(provider)

    assert told == (text, end)
    assert body.is_closed


async def test_a_stream_that_breaks_is_incomplete_and_closed() -> None:
    provider, route = wired()
    body = Pieces([chunk("he")], httpx.RemoteProtocolError("x"))
    route.respond(stream=body)

    told = await streamed(provider)

    assert (told, body.is_closed) == (("he", AttemptEnd.INCOMPLETE), True)


async def test_a_stream_refused_by_status_has_no_text() -> None:
    provider, route = wired()
    route.respond(429, json={"error": {"code": "insufficient_quota"}})

    told = await streamed(provider)

    assert told == ("", AttemptEnd.QUOTA_EXHAUSTED)


async def test_a_stream_that_is_left_early_is_closed() -> None:
    provider, route = wired()
    body = Pieces([chunk("he"), chunk("llo")])
    route.respond(stream=body)
    stream = provider.stream(ASK)

    while not await anext(stream):
        pass
    await stream.aclose()

    assert body.is_closed


async def test_the_reason_of_a_stream_is_kept() -> None:
    provider, route = wired()
    route.respond(stream=Pieces([chunk("he"), chunk(reason="length"), DONE]))

    told = await streamed(provider)

    assert told == ("he", StreamEnd(FinishReason.LENGTH, None))
