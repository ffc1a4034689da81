"""What a healthy provider says, and what it refuses by itself: the vendor's own wire."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from verification.harness.chat_result import parse_events
from verification.harness.http_client import Http
from verification.selftest.simulators.callers import ADDRESSES, ask, body_of

if TYPE_CHECKING:
    from verification.harness.answer import Answer
    from verification.harness.simulated import SimulatedProvider


def data_lines(answer: Answer) -> list[Any]:
    """The data of each event of a stream of OpenAI's."""
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def test_openai_repeats_the_message_and_counts_its_tokens(openai: SimulatedProvider) -> None:
    said = ask(openai, "Hello, test").json()

    choice = said["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Hello, test", "stop")
    assert said["usage"] | {"prompt_tokens": 3, "completion_tokens": 3} == said["usage"]
    assert (said["object"], said["model"]) == ("chat.completion", "m")


def test_anthropic_repeats_the_message_and_counts_its_tokens(anthropic: SimulatedProvider) -> None:
    said = ask(anthropic, "Hello, test").json()

    assert (said["content"], said["stop_reason"]) == (
        [{"type": "text", "text": "Hello, test"}],
        "end_turn",
    )
    assert said["usage"] | {"input_tokens": 3, "output_tokens": 3} == said["usage"]
    assert (said["type"], said["role"], said["model"]) == ("message", "assistant", "m")


def test_the_last_message_of_the_user_is_repeated_whatever_its_form(
    provider: SimulatedProvider,
) -> None:
    parts = [{"type": "text", "text": "the "}, {"type": "text", "text": "last"}]
    messages = [
        {"role": "user", "content": "the first"},
        {"role": "assistant", "content": "yes?"},
        {"role": "user", "content": parts},
    ]

    assert '"the last"' in ask(provider, messages=messages).text


def test_openai_streams_chunks_then_the_reason_then_done(openai: SimulatedProvider) -> None:
    *chunks, done = data_lines(ask(openai, "x" * 40, stream=True))

    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert [delta.get("content") for delta in deltas] == ["", "x" * 16, "x" * 16, "x" * 8, None]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [*[None] * 4, "stop"]
    assert done == "[DONE]"


def test_openai_tells_the_usage_of_a_stream_only_when_asked(openai: SimulatedProvider) -> None:
    plain = data_lines(ask(openai, stream=True))
    asked = data_lines(ask(openai, stream=True, stream_options={"include_usage": True}))

    assert all("usage" not in chunk for chunk in plain[:-1])
    assert [chunk["usage"] for chunk in asked[:-2]] == [None] * 3
    assert (asked[-2]["choices"], asked[-2]["usage"]["total_tokens"]) == ([], 4)


def test_anthropic_streams_its_events_in_order(anthropic: SimulatedProvider) -> None:
    events = parse_events(ask(anthropic, "x" * 20, stream=True))

    assert [event.event for event in events] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert all(event.data["type"] == event.event for event in events)
    assert events[-2].data["delta"]["stop_reason"] == "end_turn"


def test_a_very_long_text_is_a_stream_of_few_chunks(provider: SimulatedProvider) -> None:
    answer = ask(provider, "word " * 20_000, stream=True)

    assert 30 <= answer.text.count("data: ") <= 45


def test_half_a_pair_of_surrogates_is_answered(provider: SimulatedProvider) -> None:
    path, headers = ADDRESSES[provider.name]
    body = json.dumps(body_of("\ud83d"))

    answer = Http(provider.control_url).post(path, content=body, headers=headers)

    assert (answer.status, "\\ud83d" in answer.text) == (200, True)


def test_every_answer_tells_what_is_left_of_the_rate(
    openai: SimulatedProvider, anthropic: SimulatedProvider
) -> None:
    of_openai, of_anthropic = ask(openai).headers, ask(anthropic).headers

    assert of_openai["x-ratelimit-remaining-requests"] == "9999"
    assert of_openai["x-request-id"] != ask(openai).headers["x-request-id"]
    assert of_anthropic["anthropic-ratelimit-requests-reset"].endswith("Z")


GOOD = body_of()
OPENAI_REFUSES = {
    "no key": ({"headers": {}}, 401, None),
    "no JSON": ({"content": b"{"}, 400, None),
    "no object": ({"json": [1]}, 400, None),
    "no model": ({"json": {**GOOD, "model": None}}, 400, None),
    "no messages": ({"json": {**GOOD, "messages": []}}, 400, "messages"),
    "a wrong message": ({"json": {**GOOD, "messages": ["hi"]}}, 400, "messages"),
    "a wrong stream": ({"json": {**GOOD, "stream": "yes"}}, 400, "stream"),
    "options alone": ({"json": {**GOOD, "stream_options": {}}}, 400, "stream_options"),
    "another path": ({"path": "/v1/completions"}, 404, None),
    "another method": ({"method": "PUT"}, 405, None),
}
ANTHROPIC_REFUSES = {
    "no key": ({"headers": {"anthropic-version": "2023-06-01"}}, 401, "authentication_error"),
    "no version": ({"headers": {"x-api-key": "k"}}, 400, "invalid_request_error"),
    "a wrong version": (
        {"headers": {"x-api-key": "k", "anthropic-version": "2020-01-01"}},
        400,
        "invalid_request_error",
    ),
    "no max_tokens": ({"json": {**GOOD, "max_tokens": None}}, 400, "invalid_request_error"),
    "no messages": ({"json": {**GOOD, "messages": None}}, 400, "invalid_request_error"),
    "a temperature in the new version": (
        {
            "headers": {"x-api-key": "k", "anthropic-version": "2026-10-21"},
            "json": {**GOOD, "temperature": 1},
        },
        400,
        "invalid_request_error",
    ),
    "another path": ({"path": "/v1/complete"}, 404, "not_found_error"),
}


def sent(provider: SimulatedProvider, wrong: dict[str, Any]) -> Answer:
    """A good call but for what is wrong."""
    path, headers = ADDRESSES[provider.name]
    call = {"method": "POST", "path": path, "headers": headers, **wrong}
    if "content" not in call:
        call.setdefault("json", GOOD)
    return Http(provider.control_url).request(**call)


@pytest.mark.parametrize(
    ("wrong", "status", "param"), OPENAI_REFUSES.values(), ids=list(OPENAI_REFUSES)
)
def test_openai_refuses_as_the_vendor_does(
    openai: SimulatedProvider, wrong: dict[str, Any], status: int, param: str | None
) -> None:
    answer = sent(openai, wrong)

    error = answer.json()["error"]
    assert (answer.status, error["param"]) == (status, param)
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("wrong", "status", "kind"), ANTHROPIC_REFUSES.values(), ids=list(ANTHROPIC_REFUSES)
)
def test_anthropic_refuses_as_the_vendor_does(
    anthropic: SimulatedProvider, wrong: dict[str, Any], status: int, kind: str
) -> None:
    answer = sent(anthropic, wrong)

    said = answer.json()
    assert (answer.status, said["error"]["type"], said["type"]) == (status, kind, "error")
    assert said["request_id"] == answer.headers["request-id"]


def test_a_scripted_status_brings_the_vendors_own_error(
    openai: SimulatedProvider, anthropic: SimulatedProvider
) -> None:
    openai.fail(503)
    anthropic.fail(529)

    of_openai, of_anthropic = ask(openai, stream=True), ask(anthropic)

    assert (of_openai.status, of_anthropic.status) == (503, 529)
    assert of_openai.json()["error"]["code"] == "server_is_overloaded"
    assert of_anthropic.json() == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Overloaded"},
        "request_id": of_anthropic.headers["request-id"],
    }
