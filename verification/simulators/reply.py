"""What a rule may say about an answer: the fields, and what each may hold."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal


class ScriptError(ValueError):
    """A script that cannot be followed: says what was expected and what came."""


class _Missing:
    """Nothing was said; None means null."""

    def __repr__(self) -> str:
        return "nothing"


Cut = Literal["fin", "rst", "half"]
MISSING: Final = _Missing()
HANG: Final = "hang"
"""The gate at which calls that hang wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a rule says about the answer; everything else is as when healthy.

    Content: `status`; `headers` (null removes one); `body` as JSON or `raw` as it is, instead of
    the vendor's; `text` or `chunks`; `finish_reason` (null: none); `usage` (null: none);
    `omit_terminal`: a stream that ends well-formed without its last event; `error_event` in
    place of it. Time: `delay_s` before the first byte; `first_chunk_delay_s` between the head and
    the body; `chunk_delay_s` between chunks, and between the parts of `split_bytes` bytes where
    asked for; `hold` waits for a gate of that
    name, before the first byte or after `hold_after_chunks`; `hang` for one that nobody opens.
    Ends: `cut` at once, or after `cut_after_bytes` of the body, or after `cut_after_chunks`:
    "fin" closes, "rst" resets, "half" says that nothing more comes and goes on listening.
    """

    status: int | None = None
    headers: Mapping[str, Any] | None = None
    body: Any = MISSING
    raw: Any = None
    text: str | None = None
    chunks: list[str] | None = None
    finish_reason: str | _Missing | None = MISSING
    usage: Mapping[str, int] | _Missing | None = MISSING
    omit_terminal: bool = False
    error_event: Mapping[str, Any] | bool | None = None
    delay_s: float = 0.0
    first_chunk_delay_s: float = 0.0
    chunk_delay_s: float = 0.0
    split_bytes: int | None = None
    hold: str | None = None
    hold_after_chunks: int | None = None
    hang: bool = False
    cut: Cut | None = None
    cut_after_bytes: int | None = None
    cut_after_chunks: int | None = None

    @property
    def raw_bytes(self) -> bytes | None:
        """The body as it is."""
        if isinstance(self.raw, str):
            return self.raw.encode("utf-8", "surrogatepass")
        return None if self.raw is None else base64.b64decode(self.raw["base64"])

    @property
    def is_immediate(self) -> bool:
        """Nothing is to be waited for, split or cut."""
        timed = self.delay_s or self.first_chunk_delay_s or self.chunk_delay_s
        return not (timed or self.split_bytes or self.gate or self.is_cut)

    @property
    def gate(self) -> str | None:
        """The gate to wait for."""
        return HANG if self.hang else self.hold

    @property
    def is_cut(self) -> bool:
        """The answer does not come to its end."""
        return self.cut is not None or self.is_cut_later

    @property
    def is_cut_later(self) -> bool:
        """The answer begins, and does not come to its end."""
        return (self.cut_after_bytes, self.cut_after_chunks) != (None, None)


# Latin-1 is what a header can hold.
_LINE: Final = re.compile("[\t\x20-\x7e\x80-\xff]*")


def _is_whole(least: int, most: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _is_status(value: Any) -> bool:
    return _is_whole(STATUS_MIN, STATUS_MAX)(value) and value not in BODILESS


def _is_seconds(value: Any) -> bool:
    return type(value) in {int, float} and 0 <= value <= SECONDS_MAX


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and _LINE.fullmatch(value) is not None


def _are_headers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_line(name) and name and (one is None or all(map(_is_line, _as_list(one))))
        for name, one in value.items()
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_raw(value: Any) -> bool:
    if not isinstance(value, dict):
        return isinstance(value, str)
    try:
        base64.b64decode(value.get("base64", 0), validate=True)
    except (binascii.Error, TypeError, ValueError):
        return False
    return len(value) == 1


def _is_usage(value: Any) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, dict)
        and set(value) == USAGE_FIELDS
        and all(map(_is_whole(0), value.values()))
    )


USAGE_FIELDS: Final = frozenset({"prompt_tokens", "completion_tokens"})
# Longer than any run; beyond it is a typing error.
SECONDS_MAX: Final = 3600.0
STATUS_MIN: Final = 200
STATUS_MAX: Final = 599
BODILESS: Final = frozenset({204, 205, 304})

# Field -> what is expected, and whether a value is that.
EXPECTED: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "status": ("a whole number from 200 to 599 that goes with a body", _is_status),
    "headers": ("an object of texts, lists of texts or nulls, each a Latin-1 line", _are_headers),
    "body": ("any JSON", lambda _: True),
    "raw": ('a text, or {"base64": …}', _is_raw),
    "text": ("a text", _is_text),
    "chunks": ("a list of texts", lambda v: isinstance(v, list) and all(map(_is_text, v))),
    "finish_reason": ("a text or null", lambda v: v is None or _is_text(v)),
    "usage": ("null or an object of prompt_tokens and completion_tokens", _is_usage),
    "omit_terminal": ("true or false", lambda v: isinstance(v, bool)),
    "error_event": ("true or the error as an object", lambda v: v is True or isinstance(v, dict)),
    "delay_s": ("seconds from 0 to 3600", _is_seconds),
    "first_chunk_delay_s": ("seconds from 0 to 3600", _is_seconds),
    "chunk_delay_s": ("seconds from 0 to 3600", _is_seconds),
    "split_bytes": ("a whole number from 1", _is_whole(1)),
    "hold": ("the name of a gate", lambda v: _is_text(v) and v != ""),
    "hold_after_chunks": ("a whole number from 0", _is_whole(0)),
    "hang": ("true or false", lambda v: isinstance(v, bool)),
    "cut": ('"fin", "rst" or "half"', lambda v: v in ("fin", "rst", "half")),
    "cut_after_bytes": ("a whole number from 0", _is_whole(0)),
    "cut_after_chunks": ("a whole number from 0", _is_whole(0)),
}
assert set(EXPECTED) == {one.name for one in fields(Reply)}

CHAT_ONLY: Final = frozenset(
    {"text", "chunks", "finish_reason", "usage", "omit_terminal", "error_event"}
)
"""Fields that only a provider of chat knows."""

# Of each pair only one can be followed.
EXCLUSIVE: Final = (
    ("body", "raw"),
    ("text", "chunks"),
    ("hang", "hold"),
    ("cut_after_bytes", "cut_after_chunks"),
)


def parse_reply(told: object, *, known: frozenset[str] = frozenset(EXPECTED)) -> Reply:
    """The reply that a rule describes.

    Raises: ScriptError for an unknown field, a wrong type or a contradiction.
    """
    if not isinstance(told, dict):
        raise ScriptError(f"reply: expected an object, got {told!r}")
    for name, value in told.items():
        if name not in known:
            raise ScriptError(f"reply: unknown field {name!r}, expected {', '.join(sorted(known))}")
        expected, is_right = EXPECTED[name]
        if not is_right(value):
            raise ScriptError(f"reply.{name}: expected {expected}, got {value!r}")
    for one, other in EXCLUSIVE:
        if one in told and other in told:
            raise ScriptError(f"reply: expected {one} or {other}, got both")
    if "hold_after_chunks" in told and not ("hold" in told or told.get("hang")):
        raise ScriptError("reply.hold_after_chunks: expected hold or hang beside it, got neither")
    return Reply(**told)
