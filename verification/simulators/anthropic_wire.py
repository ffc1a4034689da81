"""Anthropic's messages as a server speaks them.

Source: Anthropic, API reference, "Messages", "Streaming messages", "Errors", "Rate limits" and
"Migrating to 2026-10-21" (2026-10).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
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
    text_of,
)
from verification.simulators.http_request import Request
from verification.simulators.peer import RefusedError, bearer, compact, fresh_id

PATH: Final = "/v1/messages"
VERSIONS: Final = ("2023-06-01", "2026-10-21")
# The newer version takes no sampling parameters.
SAMPLING: Final = ("temperature", "top_p", "top_k")
LIMITS: Final = {"requests": 4000, "tokens": 2400000, "input-tokens": 2000000}
OUTPUT_LIMIT: Final = 400000
# Status -> type, message.
ERRORS: Final = {
    400: ("invalid_request_error", "The request is invalid."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "There is an issue with your billing or payment information."),
    403: ("permission_error", "Your API key does not have permission to use this resource."),
    404: ("not_found_error", "The requested resource could not be found."),
    409: ("conflict_error", "The request conflicts with the state of the resource."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "The request timed out while processing."),
    529: ("overloaded_error", "Overloaded"),
}


class AnthropicWire(ChatPeer):
    """Anthropic."""

    name = "anthropic"
    finished = "end_turn"

    def key(self, request: Request) -> str | None:
        """`x-api-key`, or the bearer token that newer clients send."""
        return request.headers.get("x-api-key") or bearer(request)

    def headers(self) -> dict[str, HeaderValue]:
        """The headers of every answer; resets are RFC 3339."""
        reset = datetime.fromtimestamp(int(time.time()) + 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        found: dict[str, HeaderValue] = {"request-id": fresh_id("req_01")}
        for kind, limit in {**LIMITS, "output-tokens": OUTPUT_LIMIT}.items():
            found[f"anthropic-ratelimit-{kind}-limit"] = str(limit)
            found[f"anthropic-ratelimit-{kind}-remaining"] = str(limit - 1000)
            found[f"anthropic-ratelimit-{kind}-reset"] = reset
        return found

    def read(self, request: Request, key: str | None) -> ChatQuestion:
        """Read a call. Raises RefusedError."""
        if request.path != PATH:
            raise self._no(404, "Not Found")
        if request.method != "POST":
            raise self._no(405, "Method Not Allowed")
        if key is None:
            raise self._no(401, "x-api-key header is required")
        version = request.headers.get("anthropic-version")
        if version is None:
            raise self._no(400, "anthropic-version: header is required")
        if version not in VERSIONS:
            raise self._no(400, f'anthropic-version: "{version}" is not a valid version')
        told = parsed(request)
        if not isinstance(told, dict):
            raise self._no(400, "The request body is not valid JSON")
        return self._question(request, told, version)

    def _question(self, request: Request, told: dict[str, Any], version: str) -> ChatQuestion:
        model, messages = told.get("model"), told.get("messages")
        allowed, stream = told.get("max_tokens"), told.get("stream") or False
        if not isinstance(model, str) or not model:
            raise self._no(400, "model: Field required")
        if not isinstance(messages, list) or not are_messages(messages):
            raise self._no(400, "messages: Field required")
        if type(allowed) is not int or allowed < 1:
            raise self._no(400, "max_tokens: Field required")
        if not isinstance(stream, bool):
            raise self._no(400, "stream: Input should be a valid boolean")
        old = [name for name in SAMPLING if name in told]
        if version != VERSIONS[0] and old:
            raise self._no(400, f"{old[0]}: Extra inputs are not permitted")
        text, prompt = prompt_of(messages)
        return ChatQuestion(
            vendor=self,
            model=model,
            text=text,
            prompt=text_of(told.get("system")) + prompt,
            raw=request.body.decode("utf-8", "replace"),
            is_stream=stream,
        )

    def _no(self, status: int, message: str) -> RefusedError:
        headers, body = self.headers(), self.error(status)
        body["error"]["message"] = message
        return refused(headers, status, self.identified(body, headers))

    def error(self, status: int) -> dict[str, Any]:
        """The body of an error of that status."""
        usual = ("api_error" if status >= 500 else "invalid_request_error", "The request failed.")  # noqa: PLR2004
        kind, message = ERRORS.get(status, usual)
        return {"type": "error", "error": {"type": kind, "message": message}}

    def told_error(self, error: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a given error."""
        usual = self.error(529)
        return {**usual, "error": {**usual["error"], **error}}

    def identified(
        self, body: dict[str, Any], headers: Mapping[str, HeaderValue]
    ) -> dict[str, Any]:
        """The body with the id of the call."""
        return {**body, "request_id": headers["request-id"]}

    def whole(self, question: ChatQuestion, content: Content) -> dict[str, Any]:
        """The body of an answer in one piece."""
        usage = {"usage": _usage(content)} if content.has_usage else {}
        return {
            **_envelope(question),
            "content": [{"type": "text", "text": content.text}],
            "stop_reason": content.finish_reason,
            **usage,
        }

    def stream(self, question: ChatQuestion, content: Content) -> Iterator[bytes]:
        """The events of a stream."""
        usage = {"usage": {**_usage(content), "output_tokens": 1}} if content.has_usage else {}
        message = {**_envelope(question), "content": [], "stop_reason": None, **usage}
        block = {"type": "text", "text": ""}
        begun = (
            _event("message_start", message=message)
            + _event("content_block_start", index=0, content_block=block)
            + _event("ping")
        )
        for text in content.chunks:
            delta = {"type": "text_delta", "text": text}
            yield begun + _event("content_block_delta", index=0, delta=delta)
            begun = b""
        if content.error is not None:
            yield begun + _event("error", error=self.told_error(content.error)["error"])
            return
        last = _event("content_block_stop", index=0)
        delta = {"stop_reason": content.finish_reason, "stop_sequence": None}  # type: ignore[dict-item]  # null until it ends
        counted = {"usage": _usage(content)} if content.has_usage else {}
        last += _event("message_delta", delta=delta, **counted)
        yield begun + last + (_event("message_stop") if content.has_terminal else b"")


def _envelope(question: ChatQuestion) -> dict[str, Any]:
    return {
        "id": fresh_id("msg_01"),
        "type": "message",
        "role": "assistant",
        "model": question.model,
        "stop_sequence": None,
    }


def _event(kind: str, **facts: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), compact({"type": kind, **facts}))


def _usage(content: Content) -> dict[str, Any]:
    return {
        "input_tokens": content.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": content.completion_tokens,
        "service_tier": "standard",
    }
