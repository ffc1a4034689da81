"""Reading a provider's JSON without trusting it: every access says what it expects.

Whatever is not as expected makes the whole answer unreadable. Imports the refusals only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from llmhive.app.adapters.provider_refusals import unreadable

# More tokens than any model has; a count beyond it is a mistake and would spoil sums.
TOKENS_MAX = 100_000_000


def parsed_object(text: bytes) -> Mapping[str, Any]:
    """A JSON object out of bytes; invalid UTF-8 and lone surrogates are no JSON."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise unreadable("Expected JSON.") from error
    return as_object(value)


def as_object(value: object) -> Mapping[str, Any]:
    """The value, if it is an object."""
    if not isinstance(value, dict):
        raise unreadable("Expected an object.")
    return value


def as_list(value: object) -> list[Any]:
    """The value, if it is a list."""
    if not isinstance(value, list):
        raise unreadable("Expected a list.")
    return value


def as_text(value: object) -> str:
    """The value, if it is a string; null counts as the empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise unreadable("Expected a string.")
    return value


def token_count(value: object) -> int | None:
    """A number of tokens, None if it is not a sensible one: usage is nothing to fail for."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= TOKENS_MAX else None  # type: ignore[operator,return-value]  # an int, see above
