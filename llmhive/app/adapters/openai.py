"""OpenAI's chat completions on the wire.

An answer is complete with a finish reason, a stream only with `[DONE]` besides.
Source: OpenAI, API reference, "Chat completions" and "Streaming" (2025-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import orjson

from llmhive.app.adapters.provider_refusals import told_error, unreadable
from llmhive.app.adapters.provider_transport import WireProvider
from llmhive.app.adapters.sse import SseEvent
from llmhive.app.adapters.wire_json import as_list, as_object, as_text, parsed_object, token_count
from llmhive.app.clock import Clock
from llmhive.app.orchestration.model import Completion, FinishReason, StreamEnd, Usage
from llmhive.app.orchestration.ports import ProviderError
from llmhive.app.orchestration.retries import AttemptEnd

TERMINAL = b"[DONE]"
REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


class OpenAIProvider(WireProvider):
    """OpenAI, or whoever speaks like it."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        model: str,
        max_tokens: int,
        transport: httpx.AsyncBaseTransport,
        clock: Clock,
    ) -> None:
        """Take the origin, with or without a path in front of `/v1`."""
        super().__init__(
            name="openai",
            model=model,
            wire=OpenAIWire(model, max_tokens),
            url=f"{base_url.rstrip('/')}/v1/chat/completions",
            headers={"authorization": f"Bearer {api_key}"},
            transport=transport,
            clock=clock,
        )


class OpenAIWire:
    """Spells requests and reads answers."""

    def __init__(self, model: str, max_tokens: int) -> None:
        self._start = {"model": model, "max_completion_tokens": max_tokens}

    def body(self, message: str, *, stream: bool) -> bytes:
        """Spell a request; a streamed one asks for the usage, which comes in a chunk of its own."""
        request: dict[str, Any] = {
            **self._start,
            "messages": [{"role": "user", "content": message}],
        }
        if stream:
            request |= {"stream": True, "stream_options": {"include_usage": True}}
        return orjson.dumps(request)

    def completion(self, body: bytes) -> Completion:
        """Read a whole answer.

        Raises: ProviderError.
        """
        answer = parsed_object(body)
        _refuse_error(answer)
        choice = _first_choice(answer)
        if choice is None:
            raise unreadable("Expected a choice.")
        message = as_object(choice.get("message"))
        reason = _reason(choice)
        if reason is None:
            raise ProviderError(AttemptEnd.INCOMPLETE, "The answer has no finish reason.")
        if message.get("refusal"):
            return Completion(
                as_text(message["refusal"]), FinishReason.CONTENT_FILTER, _usage(answer)
            )
        text = as_text(message.get("content"))
        if message.get("content") is None and reason is FinishReason.STOP:
            raise unreadable("Expected a content.")
        return Completion(text, reason, _usage(answer))

    def reader(self) -> OpenAIStreamReader:
        """Make a reader for one stream."""
        return OpenAIStreamReader()


class OpenAIStreamReader:
    """Reads one stream; chunks without choices are ordinary: the usage comes in one."""

    def __init__(self) -> None:
        self.end: StreamEnd | None = None
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None

    def read(self, event: SseEvent) -> str:
        """The text of an event, which may be empty; sets `end` at the proven end.

        Raises: ProviderError.
        """
        if event.data.strip() == TERMINAL:
            if self._reason is None:
                raise ProviderError(AttemptEnd.INCOMPLETE, "The stream has no finish reason.")
            self.end = StreamEnd(self._reason, self._usage)
            return ""
        chunk = parsed_object(event.data)
        _refuse_error(chunk)
        self._usage = _usage(chunk) or self._usage
        choice = _first_choice(chunk)
        if choice is None:
            return ""
        self._reason = _reason(choice) or self._reason
        delta = as_object(choice.get("delta") or {})
        if delta.get("refusal"):
            self._reason = FinishReason.CONTENT_FILTER
            return as_text(delta["refusal"])
        return as_text(delta.get("content"))


def _refuse_error(answer: Mapping[str, Any]) -> None:
    if answer.get("error"):
        raise told_error(answer["error"])


def _first_choice(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for choice in as_list(answer.get("choices", [])):
        if as_object(choice).get("index", 0) == 0:
            return as_object(choice)
    return None


def _reason(choice: Mapping[str, Any]) -> FinishReason | None:
    told = as_text(choice.get("finish_reason"))
    if told == "error":  # OpenRouter: the model behind it failed
        raise ProviderError(AttemptEnd.INCOMPLETE, "The model ended in an error.")
    return REASONS.get(told, FinishReason.OTHER) if told else None


def _usage(answer: Mapping[str, Any]) -> Usage | None:
    told = answer.get("usage")
    if not isinstance(told, dict):
        return None
    prompt = token_count(told.get("prompt_tokens"))
    completion = token_count(told.get("completion_tokens"))
    return None if prompt is None or completion is None else Usage(prompt, completion)
