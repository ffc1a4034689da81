"""Leakage: nothing that the service was trusted with leaves it by a way where it does not belong.

Claimed: no secret that the service was given, no text and no identity of a user stands in
anything that left it (answers, logs, metrics, Redis, database, what providers received),
plain or in a coding that anybody can undo, but in the places that are its owner's own.

Decided by search. Each canary is unique, so a find proves the leak. The other half of a long
secret counts as the secret; an unsalted digest counts for identities, which can be guessed.
A scan that finds no canary anywhere, not even where it belongs, proves nothing: unknown.

Could be fooled by codings that are not tried here (encryption, splitting, compression).

Operations: f "said", value: `channel` (where it was said, such as "log" or "answer:<user>")
and `text`. Source: DESIGN 3.8; known-bad reference, "Canaries".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote, quote_plus

from verification.history import History
from verification.verdict import Verdict, judged, unknown

SAID: Final = "said"
# Shorter texts occur by accident; a canary has to be unlike anything else.
CANARY_LENGTH_MIN: Final = 8
# Half of a secret of this length is still impossible to guess, and unlike anything else.
HALVED_FROM: Final = 32
# Twelve hexadecimal digits are 48 bits: enough to find a person among all, none by accident.
DIGEST_DIGITS: Final = 12


class CanaryError(ValueError):
    """A canary that could be found by accident."""


class Kind(StrEnum):
    """What a canary is, which decides what counts as telling it."""

    SECRET = "secret"  # noqa: S105  a kind of canary
    TEXT = "text"
    IDENTITY = "identity"


@dataclass(frozen=True)
class Canary:
    """A unique value, by the name under which a leak is reported, and where it may stand.

    `allowed` are patterns of channels, such as "answer:u1" or "provider:*".
    """

    name: str
    value: str
    kind: Kind = Kind.SECRET
    allowed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.value) < CANARY_LENGTH_MIN:
            raise CanaryError(
                f"canary {self.name}: expected {CANARY_LENGTH_MIN} characters or more, "
                f"got {len(self.value)}"
            )

    def may_stand_in(self, channel: str) -> bool:
        """Whether that channel is one of its own."""
        return any(fnmatchcase(channel, pattern) for pattern in self.allowed)

    @cached_property
    def forms(self) -> dict[str, str]:
        """Coding -> text to look for."""
        return dict(_forms(self.value, self.kind))


def _forms(value: str, kind: Kind) -> Iterator[tuple[str, str]]:
    raw = value.encode()
    yield "plain", value
    yield "in JSON", json.dumps(value)[1:-1]
    yield "in JSON with slashes escaped", json.dumps(value)[1:-1].replace("/", "\\/")
    yield "percent-encoded", quote(value, safe="")
    yield "percent-encoded as a form", quote_plus(value)
    yield "in hexadecimal", binascii.hexlify(raw).decode()
    yield "backwards", value[::-1]
    for offset in range(3):
        yield f"in base64 at offset {offset}", _base64(raw, offset)
    if kind is Kind.SECRET and len(value) >= HALVED_FROM:
        yield "in its latter half", value[len(value) // 2 :]
    if kind is Kind.IDENTITY:
        for algorithm in ("md5", "sha1", "sha256"):
            digest = hashlib.new(algorithm, raw, usedforsecurity=False).hexdigest()
            yield f"as unsalted {algorithm}", digest[:DIGEST_DIGITS]


def _base64(raw: bytes, offset: int) -> str:
    """The part of the coding that is the same whatever stands before and after the value."""
    coded = base64.b64encode(b"\0" * offset + raw).decode()
    begin = -(-offset * 8 // 6)
    whole = (offset + len(raw)) * 8 // 6
    return coded[begin:whole]


@dataclass(frozen=True, slots=True)
class Leak:
    """A canary that was found: which, how coded, where."""

    canary: Canary
    form: str
    channel: str
    at: int

    def __str__(self) -> str:
        """Tells the place, never the canary's value."""
        return f"{self.canary.name} ({self.canary.kind}) stands {self.form} in {self.channel}"


def find(canaries: Sequence[Canary], channel: str, text: str) -> Iterator[Leak]:
    """Every canary that stands in the text, once, whether it may or not."""
    folded = text.casefold()
    url_safe = text.replace("-", "+").replace("_", "/")
    for canary in canaries:
        for form, wanted in canary.forms.items():
            where = url_safe if form.startswith("in base64") else folded
            needle = wanted if where is url_safe else wanted.casefold()
            at = where.find(needle)
            if at >= 0:
                yield Leak(canary, form, channel, at)
                break


class LeaksNothing:
    """No canary stands where it does not belong."""

    claim = "no secret, text or identity stands where it does not belong"

    def __init__(self, canaries: Sequence[Canary]) -> None:
        self.canaries = tuple(canaries)

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when no canary was found even where it belongs."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        said = history.of(SAID)
        counts = {"canaries": len(self.canaries), "texts": len(said)}
        found = [leak for operation in said for leak in self._find(operation.value)]
        leaks = [leak for leak in found if not leak.canary.may_stand_in(leak.channel)]
        counts["at home"] = len(found) - len(leaks)
        if leaks:
            counts["leaks"] = len(leaks)
            return Verdict(False, self.claim, counts, str(leaks[0]), str(leaks[-1]))
        if not found:
            why = "no canary was found anywhere, not even where it belongs"
            return unknown(self.claim, why, **counts)
        return Verdict(True, self.claim, counts)

    def _find(self, value: Mapping[str, Any]) -> Iterator[Leak]:
        return find(self.canaries, str(value.get("channel")), str(value.get("text", "")))
