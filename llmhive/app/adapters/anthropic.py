"""Anthropic's messages on the wire.

An answer is complete with a stop reason, a stream only with `message_stop` besides. Unknown
events are tolerated, as the vendor asks.
Source: Anthropic, API reference, "Messages" and "Streaming messages" (2025-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import orjson

from llmhive.app.adapters.provider_refusals import told_error
from llmhive.app.adapters.provider_transport import WireProvider
from llmhive.app.adapters.sse import SseEvent
from llmhive.app.adapters.wire_json import as_list, as_object, as_text, parsed_object, token_count
from llmhive.app.clock import Clock
from llmhive.app.orchestration.model import Completion, FinishReason, StreamEnd, Usage
from llmhive.app.orchestration.ports import ProviderError
from llmhive.app.orchestration.retries import AttemptEnd

VERSION = "2023-06-01"
REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}
# What was read from or written to the vendor's cache is part of the prompt.
PROMPT_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class AnthropicProvider(WireProvider):
    """Anthropic."""

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
            name="anthropic",
            model=model,
            wire=AnthropicWire(model, max_tokens),
            url=f"{base_url.rstrip('/')}/v1/messages",
            headers={"x-api-key": api_key, "anthropic-version": VERSION},
            transport=transport,
            clock=clock,
        )


class AnthropicWire:
    """Spells requests and reads answers."""

    def __init__(self, model: str, max_tokens: int) -> None:
        self._start = {"model": model, "max_tokens": max_tokens}

    def body(self, message: str, *, stream: bool) -> bytes:
        """Spell a request."""
        request: dict[str, Any] = {
            **self._start,
            "messages": [{"role": "user", "content": message}],
        }
        if stream:
            request["stream"] = True
        return orjson.dumps(request)

    def completion(self, body: bytes) -> Completion:
        """Read a whole answer: the text of all its blocks.

        Raises: ProviderError.
        """
        answer = parsed_object(body)
        if answer.get("type") == "error" or answer.get("error"):
            raise told_error(answer.get("error"))
        reason = _reason(answer)
        if reason is None:
            raise ProviderError(AttemptEnd.INCOMPLETE, "The answer has no stop reason.")
        blocks = [as_object(block) for block in as_list(answer.get("content"))]
        texts = [as_text(block.get("text")) for block in blocks if block.get("type") == "text"]
        return Completion("".join(texts), reason, _usage(_counts_of(answer.get("usage"))))

    def reader(self) -> AnthropicStreamReader:
        """Make a reader for one stream."""
        return AnthropicStreamReader()


class AnthropicStreamReader:
    """Reads one stream; the counts of `message_delta` are sums that replace earlier ones."""

    def __init__(self) -> None:
        self.end: StreamEnd | None = None
        self._reason: FinishReason | None = None
        self._counts: dict[str, Any] = {}

    def read(self, event: SseEvent) -> str:
        """The text of an event, which may be empty; sets `end` at the proven end.

        Raises: ProviderError.
        """
        told = parsed_object(event.data)
        match told.get("type"):
            case "content_block_delta":
                return _text(as_object(told.get("delta")))
            case "content_block_start":
                return _text(as_object(told.get("content_block") or {}))
            case "message_start":
                self._counts |= _counts_of(as_object(told.get("message")).get("usage"))
            case "message_delta":
                self._reason = _reason(as_object(told.get("delta"))) or self._reason
                self._counts |= _counts_of(told.get("usage"))
            case "message_stop":
                self._finish()
            case "error":
                raise told_error(told.get("error"))
        return ""

    def _finish(self) -> None:
        if self._reason is None:
            raise ProviderError(AttemptEnd.INCOMPLETE, "The stream has no stop reason.")
        self.end = StreamEnd(self._reason, _usage(self._counts))


def _text(part: Mapping[str, Any]) -> str:
    """The text of a block or of a delta; thinking, signatures and tool input are none."""
    return as_text(part.get("text")) if part.get("type") in {"text", "text_delta"} else ""


def _reason(answer: Mapping[str, Any]) -> FinishReason | None:
    told = as_text(answer.get("stop_reason"))
    return REASONS.get(told, FinishReason.OTHER) if told else None


def _counts_of(usage: object) -> dict[str, Any]:
    # null means: not counted anew
    if not isinstance(usage, dict):
        return {}
    return {name: count for name, count in usage.items() if count is not None}


def _usage(counts: Mapping[str, Any]) -> Usage | None:
    completion = token_count(counts.get("output_tokens"))
    prompts = [token_count(counts.get(name, 0)) for name in PROMPT_COUNTS]
    if completion is None or "input_tokens" not in counts or None in prompts:
        return None
    return Usage(sum(count for count in prompts if count is not None), completion)
