"""What a chat request is, what its answer is, and what happens in between: values only.

Nothing below `api/` sees a raw request, nothing above `adapters/` a provider's wire format.
Imports nothing of the service but `retries`. Source: DESIGN.md, sections 3.1, 3.4 and 3.7.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from llmhive.app.orchestration.retries import RetryConfig

# English text has about four bytes a token (OpenAI, "What are tokens", 2025-10).
BYTES_PER_TOKEN = 4


class FinishReason(StrEnum):
    """Why a provider stopped; anything but `stop` makes the answer partial."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ChatConfig:
    """The numbers of a chat request; the defaults are the documented ones."""

    llm_timeout_s: float = 30.0
    stream_idle_timeout_s: float = 15.0
    # What a usual answer costs, reserved before the call: ten of them at once fit into the
    # smallest budget (10 000 tokens); what an answer costs beyond is charged when it ends.
    reserved_completion_tokens: int = 256
    # 429 without Retry-After: providers' windows refill by the second.
    rate_limit_rest_s: float = 1.0
    # Money does not come back by itself within the hour, but a person may bring some.
    quota_rest_s: float = 3600.0
    # What callers are told to wait when no provider said anything better: about as long as
    # a provider's restart, and much less than a breaker's rest.
    retry_after_s: float = 5.0
    retry: RetryConfig = field(default_factory=RetryConfig)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a caller asks, already checked."""

    message: str
    conversation_id: str | None = None
    stream: bool = False
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer, as the provider counted them, or estimated when it did not."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        """What the answer costs of a token budget."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The proof that a stream was complete: its terminal marker and finish reason were seen.

    `usage` is None when the provider did not tell.
    """

    finish_reason: FinishReason
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Completion:
    """A provider's whole answer; `usage` is None when the provider did not tell."""

    text: str
    finish_reason: FinishReason
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """The answer to a caller; a streamed one has delivered its `reply` before."""

    answer_id: str
    request_id: str
    conversation_id: str | None
    reply: str | None
    provider: str
    model: str
    usage: Usage
    finish_reason: FinishReason
    iterations: int = 1

    @property
    def is_partial(self) -> bool:
        """Whether the provider stopped before the answer was at its end."""
        return self.finish_reason is not FinishReason.STOP


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """Text to be delivered now."""

    text: str


@dataclass(frozen=True, slots=True)
class DoneEvent:
    """The end of a complete stream; everything of the answer but its text."""

    answer: ChatAnswer


StreamEvent = TokenEvent | DoneEvent


def tokens_of(text: str) -> int:
    """Estimate the tokens of a text: at least one, for any script within a factor of about two."""
    return len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN + 1
