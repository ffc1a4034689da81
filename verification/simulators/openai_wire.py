"""OpenAI's chat completions as a server speaks them.

Source: OpenAI, API reference, "Chat completions", "Streaming", "Error codes" and "Rate limits"
(2026-10).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from verification.simulators.answer import HeaderValue
from verification.simulators.chat import (
    ChatPeer,
    ChatQuestion,
    Content,
    are_messages,
    parsed,
    prompt_of,
    refused,
)
from verification.simulators.http_request import Request
from verification.simulators.peer import RefusedError, bearer, compact, fresh_id

PATH: Final = "/v1/chat/completions"
DONE: Final = b"data: [DONE]\n\n"
# Tier 5 of gpt-4o; resets are Go durations.
RATE_LIMITS: Final = {
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-limit-tokens": "30000000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-remaining-tokens": "29999986",
    "x-ratelimit-reset-requests": "6ms",
    "x-ratelimit-reset-tokens": "0s",
}
INVALID: Final = "invalid_request_error"
# Status -> type, code, message.
ERRORS: Final[dict[int, tuple[str, str | None, str]]] = {
    400: (INVALID, None, "The request is invalid."),
    401: (INVALID, "invalid_api_key", "Incorrect API key provided."),
    403: (INVALID, "unsupported_country_region_territory", "Region or territory not supported"),
    404: (INVALID, "model_not_found", "The model does not exist or you do not have access to it."),
    413: (INVALID, None, "The request is too large."),
    422: (INVALID, None, "The request could not be processed."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests per min (RPM)."),
    500: ("server_error", None, "The server had an error while processing your request."),
    503: ("service_unavailable_error", "server_is_overloaded", "The server is overloaded."),
}


class OpenAIWire(ChatPeer):
    """OpenAI."""

    name = "openai"
    finished = "stop"

    def key(self, request: Request) -> str | None:
        """The bearer token."""
        return bearer(request)

    def headers(self) -> dict[str, HeaderValue]:
        """The headers of every answer."""
        return {
            "x-request-id": fresh_id("req_"),
            "openai-version": "2020-10-01",
            "openai-organization": "org-simulated",
            "openai-processing-ms": "1",
            **RATE_LIMITS,
        }

    def read(self, request: Request, key: str | None) -> ChatQuestion:
        """Read a call. Raises RefusedError."""
        if request.path != PATH:
            raise self._no(404, f"Invalid URL ({request.method} {request.path})")
        if request.method != "POST":
            raise self._no(405, f"Not allowed to {request.method} on {PATH}.")
        if key is None:
            raise self._no(401, "You didn't provide an API key.")
        told = parsed(request)
        if not isinstance(told, dict):
            raise self._no(400, "We could not parse the JSON body of your request.")
        return self._question(request, told)

    def _question(self, request: Request, told: dict[str, Any]) -> ChatQuestion:
        model, messages = told.get("model"), told.get("messages")
        stream, options = told.get("stream") or False, told.get("stream_options")
        if not isinstance(model, str) or not model:
            raise self._no(400, "you must provide a model parameter")
        if not isinstance(messages, list) or not are_messages(messages):
            text = "Missing required parameter: 'messages'."
            raise self._no(400, text, param="messages", code="missing_required_parameter")
        if not isinstance(stream, bool):
            text = "Invalid type for 'stream': expected a boolean."
            raise self._no(400, text, param="stream", code="invalid_type")
        if options is not None and not stream:
            text = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            raise self._no(400, text, param="stream_options")
        text, prompt = prompt_of(messages)
        return ChatQuestion(
            vendor=self,
            model=model,
            text=text,
            prompt=prompt,
            raw=request.body.decode("utf-8", "replace"),
            is_stream=stream,
            wants_usage=not stream or bool((options or {}).get("include_usage")),
        )

    def _no(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> RefusedError:
        error = {"message": message, "type": INVALID, "param": param, "code": code}
        return refused(self.headers(), status, {"error": error})

    def error(self, status: int) -> dict[str, Any]:
        """The body of an error of that status."""
        usual = "server_error" if status >= 500 else INVALID  # noqa: PLR2004
        kind, code, message = ERRORS.get(status, (usual, None, "The request failed."))
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def told_error(self, error: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a given error."""
        return {"error": {**self.error(500)["error"], **error}}

    def identified(
        self, body: dict[str, Any], headers: Mapping[str, HeaderValue]
    ) -> dict[str, Any]:
        """The body as it is: it has no id."""
        del headers
        return body

    def whole(self, question: ChatQuestion, content: Content) -> dict[str, Any]:
        """The body of an answer in one piece."""
        choice = {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": content.text,
                "refusal": None,
                "annotations": [],
            },
            "logprobs": None,
            "finish_reason": content.finish_reason,
        }
        usage = {"usage": _usage(content)} if content.has_usage else {}
        return {**_envelope(question, "chat.completion"), "choices": [choice], **usage}

    def stream(self, question: ChatQuestion, content: Content) -> Iterator[bytes]:
        """The events of a stream."""
        envelope = _envelope(question, "chat.completion.chunk")
        if question.wants_usage:
            envelope["usage"] = None
        opening = {"role": "assistant", "content": "", "refusal": None}
        begun = _event({**envelope, "choices": [_choice(opening)]})
        for text in content.chunks:
            yield begun + _event({**envelope, "choices": [_choice({"content": text})]})
            begun = b""
        if content.error is not None:
            yield begun + _event(self.told_error(content.error))
            return
        last = _event({**envelope, "choices": [_choice({}, content.finish_reason)]})
        if question.wants_usage and content.has_usage:
            last += _event({**envelope, "choices": [], "usage": _usage(content)})
        yield begun + last + (DONE if content.has_terminal else b"")


def _envelope(question: ChatQuestion, kind: str) -> dict[str, Any]:
    return {
        "id": fresh_id("chatcmpl-"),
        "object": kind,
        "created": int(time.time()),
        "model": question.model,
        "service_tier": "default",
        "system_fingerprint": "fp_simulated",
    }


def _choice(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _event(value: object) -> bytes:
    return b"data: " + compact(value) + b"\n\n"


def _usage(content: Content) -> dict[str, Any]:
    return {
        "prompt_tokens": content.prompt_tokens,
        "completion_tokens": content.completion_tokens,
        "total_tokens": content.prompt_tokens + content.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
