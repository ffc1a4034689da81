"""The fields that tell a caller its limits, parsed: RateLimit and RateLimit-Policy. A leaf.

What is absent or no list of that draft parses to nothing; claims compare what they expect.
Source: draft-ietf-httpapi-ratelimit-headers-11; RFC 9651 (structured fields).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from verification.contract.http import LIMIT_DEGRADED, LIMIT_HEADERS

if TYPE_CHECKING:
    from verification.harness.http_client import Answer

# "name";parameter=value;…: an item of a list whose values are numbers or strings.
_ITEM: Final = re.compile(r'"([^"]+)"((?:;[a-z][a-z0-9*_.-]*=(?:-?\d+|"[^"]*"))*)')
_PARAMETER: Final = re.compile(r';([^=;]+)=(-?\d+|"[^"]*")')


@dataclass(frozen=True, slots=True)
class LimitFields:
    """What one answer says of the limits, by their names (requests, tokens, in_flight)."""

    remaining: Mapping[str, int]
    reset_s: Mapping[str, int]
    quota: Mapping[str, int]
    window_s: Mapping[str, int]
    is_degraded: bool
    """It was decided by one worker alone."""


def limit_fields(answer: Answer) -> LimitFields:
    """The fields of an answer."""
    left_name, policy_name = LIMIT_HEADERS
    left = _items(answer.headers.get(left_name, ""))
    policy = _items(answer.headers.get(policy_name, ""))
    return LimitFields(
        remaining=_parameter(left, "r"),
        reset_s=_parameter(left, "t"),
        quota=_parameter(policy, "q"),
        window_s=_parameter(policy, "w"),
        is_degraded=LIMIT_DEGRADED in answer.headers,
    )


def _items(text: str) -> dict[str, dict[str, str]]:
    """Name -> parameters; {} when the text is no such list."""
    if not re.fullmatch(rf"{_ITEM.pattern}(?:[ \t]*,[ \t]*{_ITEM.pattern})*", text):
        return {}
    return {match[1]: dict(_PARAMETER.findall(match[2])) for match in _ITEM.finditer(text)}


def _parameter(items: Mapping[str, Mapping[str, str]], name: str) -> dict[str, int]:
    return {
        item: int(parameters[name])
        for item, parameters in items.items()
        if parameters.get(name, "").lstrip("-").isdecimal()
    }
