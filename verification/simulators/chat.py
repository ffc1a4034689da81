"""What chat providers have in common: a question, and content that a reply may change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from verification.simulators.answer import EVENT_STREAM, JSON, Answer, HeaderValue
from verification.simulators.http_request import Request
from verification.simulators.peer import RefusedError, compact, scripted, with_headers
from verification.simulators.reply import EXPECTED, MISSING, Reply, ScriptError

BYTES_PER_TOKEN: Final = 4
# A healthy stream is about so many chunks at most, however long the text.
CHUNKS_MAX: Final = 32
CHUNK_CHARACTERS_MIN: Final = 16
ERROR_STATUS: Final = 400


@dataclass(frozen=True, slots=True)
class Content:
    """What the model says. `finish_reason` None: none is given."""

    chunks: tuple[str, ...]
    prompt_tokens: int
    completion_tokens: int
    has_usage: bool
    finish_reason: str | None
    has_terminal: bool
    error: Mapping[str, Any] | None

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.chunks)


class Vendor(Protocol):
    """How one provider spells it."""

    @property
    def finished(self) -> str:
        """The finish reason of a healthy answer."""

    def headers(self) -> dict[str, HeaderValue]:
        """The headers of every answer."""

    def error(self, status: int) -> dict[str, Any]:
        """The body of an error of that status."""

    def told_error(self, error: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a given error, {}: of the usual one."""

    def identified(
        self, body: dict[str, Any], headers: Mapping[str, HeaderValue]
    ) -> dict[str, Any]:
        """The body of an error with the id that its headers have, where bodies have one."""

    def whole(self, question: ChatQuestion, content: Content) -> dict[str, Any]:
        """The body of an answer in one piece."""

    def stream(self, question: ChatQuestion, content: Content) -> Iterator[bytes]:
        """The events of a stream: a piece for each chunk and one that ends it."""


@dataclass(frozen=True, slots=True)
class ChatQuestion:
    """A call that the provider takes."""

    vendor: Vendor
    model: str
    text: str
    """The caller's last message, which a healthy reply repeats."""
    prompt: str
    """Everything that the model is to read."""
    raw: str
    is_stream: bool
    wants_usage: bool = True

    @property
    def texts(self) -> tuple[str, ...]:
        """The body as it came, and its messages without JSON's escapes."""
        return (self.raw, self.prompt)

    def answer(self, reply: Reply) -> Answer:
        """Answer as the provider would, with what the reply says instead."""
        status = reply.status or 200
        headers = self.vendor.headers()
        given = scripted(reply, headers, is_stream=self.is_stream)
        if given is not None:
            return given
        streams = self.is_stream and status < ERROR_STATUS
        usual = {"content-type": EVENT_STREAM if streams else JSON, **headers}
        every = with_headers(usual, reply.headers)
        if status >= ERROR_STATUS:
            body = self.vendor.identified(self.vendor.error(status), headers)
            return Answer(status, every, (compact(body),))
        content = self._content(reply)
        if streams:
            pieces = tuple(self.vendor.stream(self, content))
            return Answer(status, every, pieces, is_stream=True)
        told = content.error
        if told is None:
            body = self.vendor.whole(self, content)
        else:
            body = self.vendor.identified(self.vendor.told_error(told), headers)
        return Answer(status, every, (compact(body),))

    def _content(self, reply: Reply) -> Content:
        chunks = tuple(reply.chunks) if reply.chunks is not None else None
        if chunks is None:
            chunks = tuple(pieces_of(self.text if reply.text is None else reply.text))
        usage = reply.usage
        counted = {"prompt_tokens": tokens(self.prompt), "completion_tokens": tokens(*chunks)}
        if isinstance(usage, Mapping):
            counted = dict(usage)
        reason = reply.finish_reason
        error = reply.error_event
        return Content(
            chunks=chunks,
            **counted,
            has_usage=usage is not None,
            finish_reason=reason if isinstance(reason, str | None) else self.vendor.finished,
            has_terminal=not reply.omit_terminal,
            error={} if error is True else error or None,
        )


class ChatPeer:
    """What both providers do with control; they keep no objects."""

    known_fields = frozenset(EXPECTED)

    def put(self, told: object) -> None:
        """Refuse."""
        del told
        raise ScriptError("a chat provider keeps no objects")

    def objects(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def forget_objects(self) -> None:
        """Nothing to forget."""


def tokens(*texts: str) -> int:
    """How many tokens a text counts: one for four bytes begun, the same every time."""
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return -(-size // BYTES_PER_TOKEN)


def pieces_of(text: str) -> Iterator[str]:
    """The text in chunks, as a model would give it."""
    size = max(CHUNK_CHARACTERS_MIN, -(-len(text) // CHUNKS_MAX))
    return (text[at : at + size] for at in range(0, len(text), size))


def parsed(request: Request) -> Any:
    """The JSON of a call, `MISSING` when it is none."""
    try:
        return json.loads(request.body)
    except ValueError:
        return MISSING


def refused(vendor_headers: Mapping[str, HeaderValue], status: int, body: object) -> RefusedError:
    """A refusal by the vendor itself."""
    return RefusedError(Answer(status, {"content-type": JSON, **vendor_headers}, (compact(body),)))


def text_of(content: object) -> str:
    """The text of a message: itself, or of its parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part for part in content if isinstance(part, dict))
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def prompt_of(messages: list[dict[str, Any]]) -> tuple[str, str]:
    """The last message of the user, and all of them."""
    texts = [text_of(message.get("content")) for message in messages]
    last = next(
        (
            text
            for message, text in zip(reversed(messages), reversed(texts), strict=True)
            if message.get("role") == "user"
        ),
        "",
    )
    return last, "\n".join(texts)


def are_messages(told: object) -> bool:
    """Whether these are messages in the form that both vendors have."""
    return (
        isinstance(told, list)
        and bool(told)
        and all(
            isinstance(one, dict)
            and isinstance(one.get("role"), str)
            and isinstance(one.get("content", ""), str | list)
            for one in told
        )
    )
