"""Every call that came, when, and what became of it. Bounded: the oldest go first, counted."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from verification.simulators.http_request import Request, headers_of

# A load of 300 calls per second for five minutes, and a start of a second.
CALLS_MAX: Final = 100_000
BYTES_MAX: Final = 128_000_000


@dataclass(slots=True)
class Entry:
    """One call. All `*_s` are monotonic seconds of this machine."""

    index: int
    method: str
    target: str
    head: bytes
    """As it came, which takes less room than its headers."""
    body: bytes
    key: str | None
    arrived_s: float
    first_byte_s: float | None = None
    bytes_out: int = 0
    """With the head."""
    ended_s: float | None = None
    """When it was over, however."""
    hung_up_s: float | None = None
    """When the caller left before it was over."""
    status: int | None = None
    rule: int | None = None
    held: str | None = None
    """The gate at which it waits now."""
    flaw: str | None = None
    """What keeps the answer from being whole and the vendor's own; see plan.flaw."""

    @property
    def size_bytes(self) -> int:
        """What it costs to keep."""
        return len(self.head) + len(self.body)

    def wrote(self, size: int) -> None:
        """Note bytes that went out."""
        if self.first_byte_s is None:
            self.first_byte_s = monotonic()
        self.bytes_out += size

    def end(self) -> None:
        """Note that it is over."""
        self.held = None
        if self.ended_s is None:
            self.ended_s = monotonic()

    def leave(self) -> None:
        """Note that the caller left."""
        self.end()
        self.hung_up_s = self.ended_s

    def contains(self, text: str) -> bool:
        """Whether target or body hold the text, as it is or as JSON spells it."""
        if text in self.target:
            return True
        body = self._body_text
        spellings = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
        return any(one in body for one in spellings)

    @property
    def _body_text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def shown(self) -> dict[str, Any]:
        """As control shows it."""
        return {
            "index": self.index,
            "method": self.method,
            "path": self.target,
            "key": self.key,
            "headers": headers_of(self.head),
            "body": _json_or_text(self._body_text),
            "arrived_s": self.arrived_s,
            "first_byte_s": self.first_byte_s,
            "bytes_out": self.bytes_out,
            "ended_s": self.ended_s,
            "hung_up_s": self.hung_up_s,
            "status": self.status,
            "rule": self.rule,
            "held": self.held,
            "flaw": self.flaw,
        }


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


class Journal:
    """The calls in the order of their arrival. Indexes are never given twice."""

    def __init__(self, calls_max: int = CALLS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._calls_max = calls_max
        self._bytes_max = bytes_max
        self._entries: deque[Entry] = deque()
        self._size_bytes = 0
        self._next = 0
        self.dropped = 0
        """How many of the oldest had to go since the last `forget`."""

    def arrive(self, request: Request, key: str | None) -> Entry:
        """Note a call."""
        entry = Entry(
            index=self._next,
            method=request.method,
            target=request.target,
            head=request.head,
            body=request.body,
            key=key,
            arrived_s=monotonic(),
        )
        self._next += 1
        self._entries.append(entry)
        self._size_bytes += entry.size_bytes
        while len(self._entries) > self._calls_max or self._size_bytes > self._bytes_max:
            self._size_bytes -= self._entries.popleft().size_bytes
            self.dropped += 1
        return entry

    def forget(self) -> None:
        """Forget all calls; those that are not over yet are not noted again."""
        self._entries.clear()
        self._size_bytes = self.dropped = 0

    def since(self, index: int = 0, contains: str = "") -> Iterator[Entry]:
        """The calls from `index` on whose target or body hold the text."""
        return (
            entry
            for entry in self._entries
            if entry.index >= index and (not contains or entry.contains(contains))
        )
