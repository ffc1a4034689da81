"""A chat answer, plain or streamed, as one value. Imports http_client only.

Source: DESIGN 3.1: `stream: true` is SSE: `token` events, then exactly one `done` or `error`.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from verification.history import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from verification.harness.http_client import Answer
    from verification.harness.users import User
    from verification.history import History


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One server-sent event: its name, its data parsed (None when no JSON), when it was whole."""

    event: str
    data: Any
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResult:
    """A chat answer with the fields that claims look at; everything else is in `answer`."""

    answer: Answer
    events: tuple[StreamEvent, ...] = ()
    operation: int | None = None
    """Index of the Operation in the history, when one was given."""

    @property
    def status(self) -> int:
        """HTTP status, 0 when none came."""
        return self.answer.status

    @property
    def error(self) -> str | None:
        """What the network did, or None; see Answer."""
        return self.answer.error

    @property
    def code(self) -> str | None:
        """The error code: of the problem body, or of the stream's `error` event."""
        last = self.end
        if last is not None and last.event == "error":
            return str(last.data.get("code")) if isinstance(last.data, dict) else None
        return self.answer.code

    @property
    def request_id(self) -> str | None:
        """The service's id for this request."""
        return self.answer.request_id

    @property
    def served_by(self) -> str | None:
        """The worker that answered."""
        return self.answer.served_by

    @property
    def end(self) -> StreamEvent | None:
        """The last event when it ends the stream (`done` or `error`), else None."""
        last = self.events[-1] if self.events else None
        return last if last is not None and last.event in {"done", "error"} else None

    @property
    def body(self) -> dict[str, Any]:
        """The fields of the plain answer, or of the `done` event; {} when there are none."""
        found = self.end.data if self.end is not None else self.answer.json()
        return found if isinstance(found, dict) else {}

    @property
    def reply(self) -> str:
        """The text of the answer: `reply`, or the tokens joined."""
        if self.events:
            return "".join(tokens(self.events))
        return str(self.body.get("reply", ""))

    @property
    def is_whole(self) -> bool:
        """200, received to its end, and for a stream ended by `done`."""
        done = not self.events or (self.end is not None and self.end.event == "done")
        return self.answer.is_complete and self.status == 200 and done  # noqa: PLR2004

    @property
    def outcome(self) -> Outcome:
        """ok: a whole answer. fail: never sent, or refused with 4xx. info: everything else."""
        if self.is_whole:
            return Outcome.OK
        is_refused = self.answer.is_complete and 400 <= self.status < 500  # noqa: PLR2004
        return Outcome.FAIL if self.answer.never_sent or is_refused else Outcome.INFO


def tokens(events: Iterable[StreamEvent]) -> list[str]:
    """The texts of the `token` events."""
    return [
        str(event.data.get("text", ""))
        for event in events
        if event.event == "token" and isinstance(event.data, dict)
    ]


def parse_events(answer: Answer) -> tuple[StreamEvent, ...]:
    """The whole events of an SSE answer, each with the time of the chunk that ended it.

    An event that was cut before its blank line is left out, as the standard says.
    """
    events: list[StreamEvent] = []
    waiting = b""
    for at_s, chunk in answer.chunks:
        waiting += chunk
        *whole, waiting = waiting.replace(b"\r\n", b"\n").split(b"\n\n")
        events += [_event(block.decode("utf-8", "replace"), at_s) for block in whole if block]
    return tuple(event for event in events if event.event)


def _event(block: str, at_s: float) -> StreamEvent:
    name, data = "", []
    for line in block.split("\n"):
        field, _, value = line.partition(":")
        if field == "event":
            name = value.removeprefix(" ")
        elif field == "data":
            data.append(value.removeprefix(" "))
    try:
        return StreamEvent(name, json.loads("\n".join(data)), at_s)
    except ValueError:
        return StreamEvent(name, None, at_s)


def recorded(
    answer: Answer, user: User | None, *, history: History | None, process: str | None
) -> ChatResult:
    """The result of a chat request, written into the history when there is one.

    Stores: Operation f="chat"; its value holds user, status, code, reply, provider, served_by,
    request_id, retry_after_s; its process is `process`, or the thread's name.
    """
    is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
    result = ChatResult(answer=answer, events=parse_events(answer) if is_stream else ())
    if history is None:
        return result
    operation = history.add(
        process=process or threading.current_thread().name,
        f="chat",
        value={
            "user": user.id if user else None,
            "status": result.status,
            "code": result.code,
            "reply": result.reply,
            "provider": result.body.get("provider"),
            "served_by": result.served_by,
            "request_id": result.request_id,
            "retry_after_s": answer.retry_after_s,
        },
        outcome=result.outcome,
        started_s=answer.sent_s,
        finished_s=answer.done_s,
        evidence=result.request_id,
    )
    return dataclasses.replace(result, operation=operation.index)
