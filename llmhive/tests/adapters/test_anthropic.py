"""Anthropic's wire: what is sent, what is taken for an answer, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
import respx

from llmhive.app.adapters.anthropic import AnthropicProvider
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

ANSWER: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "text", "text": "größer ", "citations": None},
        {"type": "text", "text": "漢"},
    ],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 9, "output_tokens": 3, "cache_read_input_tokens": 100},
}


def wired() -> tuple[AnthropicProvider, respx.Route]:
    router, arguments = router_and_arguments()
    route = router.post("http://provider.test/v1/messages")
    return AnthropicProvider(model="claude", **arguments), route


def event(name: str, **told: object) -> bytes:
    data = json.dumps({"type": name, **told}, ensure_ascii=False)
    return f"event: {name}\ndata: {data}\n\n".encode()


def delta(kind: str, **told: object) -> bytes:
    return event("content_block_delta", index=0, delta={"type": kind, **told})


START = event(
    "message_start",
    message={"usage": {"input_tokens": 9, "output_tokens": 1}, "stop_reason": None},
) + event("content_block_start", index=0, content_block={"type": "text", "text": ""})
STOP = event("message_stop")
WHOLE = (
    START
    + event("ping")
    + delta("thinking_delta", thinking="hm")
    + delta("text_delta", text="größer ")
    + event("never_heard_of", text="no")
    + delta("text_delta", text="👩‍👩‍👧 漢字")
    + delta("signature_delta", signature="x")
    + event("content_block_stop", index=0)
    + event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3})
    + STOP
)
ENDED = event("message_delta", delta={"stop_reason": "max_tokens"}, usage={"output_tokens": 3})
HE = delta("text_delta", text="he")


async def test_a_request_is_spelt_as_the_vendor_wants_it() -> None:
    provider, route = wired()
    route.respond(json=ANSWER)

    await provider.complete(ASK)

    request = route.calls.last.request
    assert json.loads(request.content) == {
        "model": "claude",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": ASK.message}],
    }
    assert (request.headers["x-api-key"], request.headers["anthropic-version"]) == (
        KEY,
        "2023-06-01",
    )


async def test_an_answer_is_the_text_of_all_its_blocks() -> None:
    provider, route = wired()
    route.respond(json=ANSWER)

    answer = await provider.complete(ASK)

    assert answer == Completion("größer 漢", FinishReason.STOP, Usage(109, 3))


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("stop_sequence", FinishReason.STOP),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("refusal", FinishReason.CONTENT_FILTER),
        ("pause_turn", FinishReason.OTHER),
    ],
)
async def test_why_the_model_stopped_is_kept(told: str, reason: FinishReason) -> None:
    provider, route = wired()
    route.respond(json={**ANSWER, "stop_reason": told})

    answer = await provider.complete(ASK)

    assert answer.finish_reason is reason


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        pytest.param({**ANSWER, "stop_reason": None}, AttemptEnd.INCOMPLETE, id="no-reason"),
        pytest.param({**ANSWER, "content": None}, AttemptEnd.UNREADABLE, id="no-content"),
        pytest.param({**ANSWER, "content": ["x"]}, AttemptEnd.UNREADABLE, id="no-block"),
        pytest.param(
            {"type": "error", "error": {"type": "overloaded_error"}},
            AttemptEnd.INCOMPLETE,
            id="error-in-200",
        ),
        pytest.param({"type": "error"}, AttemptEnd.INCOMPLETE, id="bare-error-in-200"),
    ],
)
async def test_what_is_no_whole_answer_is_a_failure(
    answer: dict[str, Any], end: AttemptEnd
) -> None:
    provider, route = wired()
    route.respond(json=answer)

    error = await end_of(provider)

    assert error.end is end


@pytest.mark.parametrize(
    ("status", "error", "end"),
    [
        (429, {"type": "rate_limit_error"}, AttemptEnd.RATE_LIMITED),
        (
            429,
            {
                "type": "rate_limit_error",
                "details": {"error_code": "enforced_spend_limit_reached"},
            },
            AttemptEnd.QUOTA_EXHAUSTED,
        ),
        (402, {"type": "billing_error"}, AttemptEnd.QUOTA_EXHAUSTED),
        (
            400,
            {
                "type": "invalid_request_error",
                "message": "Your credit balance is too low to access the Anthropic API.",
            },
            AttemptEnd.QUOTA_EXHAUSTED,
        ),
        (
            400,
            {
                "type": "invalid_request_error",
                "message": "You have reached your specified API usage limits.",
            },
            AttemptEnd.QUOTA_EXHAUSTED,
        ),
        (400, {"type": "invalid_request_error"}, AttemptEnd.REQUEST_REFUSED),
        (413, {"type": "request_too_large"}, AttemptEnd.REQUEST_REFUSED),
        (401, {"type": "authentication_error"}, AttemptEnd.CREDENTIAL_REFUSED),
        (404, {"type": "not_found_error"}, AttemptEnd.CREDENTIAL_REFUSED),
        (500, {"type": "api_error"}, AttemptEnd.SERVER_ERROR),
        (504, {"type": "timeout_error"}, AttemptEnd.SERVER_ERROR),
        (529, {"type": "overloaded_error"}, AttemptEnd.SERVER_ERROR),
    ],
)
async def test_a_refusal_is_told_by_its_words_and_its_status(
    status: int, error: dict[str, Any], end: AttemptEnd
) -> None:
    provider, route = wired()
    route.respond(status, json={"type": "error", "error": error, "request_id": "req_x"})

    refusal = await end_of(provider)

    assert refusal.end is end


@pytest.mark.parametrize("size", [1, 2, 3, 5, 4096])
async def test_a_stream_is_the_same_however_its_bytes_come(size: int) -> None:
    provider, route = wired()
    pieces = [WHOLE[at : at + size] for at in range(0, len(WHOLE), size)]
    route.respond(stream=Pieces(pieces))

    told = await streamed(provider)

    assert told == ("größer 👩‍👩‍👧 漢字", StreamEnd(FinishReason.STOP, Usage(9, 3)))


@pytest.mark.parametrize(
    ("wire", "end"),
    [
        pytest.param(START + HE, AttemptEnd.INCOMPLETE, id="no-stop"),
        pytest.param(START + HE + ENDED, AttemptEnd.INCOMPLETE, id="reason-but-no-stop"),
        pytest.param(START + HE + STOP, AttemptEnd.INCOMPLETE, id="stop-but-no-reason"),
        pytest.param(
            START + HE + event("error", error={"type": "overloaded_error"}),
            AttemptEnd.INCOMPLETE,
            id="error-event",
        ),
        pytest.param(START + HE + b"data: nope\n\n", AttemptEnd.UNREADABLE, id="no-json"),
    ],
)
async def test_a_stream_without_proof_of_its_end_is_a_failure(wire: bytes, end: AttemptEnd) -> None:
    provider, route = wired()
    route.respond(stream=Pieces([wire]))

    told = await streamed(provider)

    assert told == ("he", end)


async def test_the_reason_of_a_stream_is_kept() -> None:
    provider, route = wired()
    route.respond(stream=Pieces([START, HE, ENDED, STOP]))

    told = await streamed(provider)

    assert told == ("he", StreamEnd(FinishReason.LENGTH, Usage(9, 3)))


async def test_signs_of_life_are_passed_on() -> None:
    provider, route = wired()
    route.respond(stream=Pieces([START, event("ping"), event("ping"), HE, ENDED, STOP]))

    pieces = [piece async for piece in provider.stream(ASK)]

    assert pieces.count("") >= 3
