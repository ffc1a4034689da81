"""Secrets are masked by value wherever text leaves the process.

Patterns know only the shapes of yesterday's keys, so what is configured or presented is
looked for as it is, and as JSON, URLs and Basic credentials would spell it. Two shapes are
masked besides: our own keys, since others' may turn up, and passwords inside URLs.
Imports nothing of the service.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote, unquote

MASK = "[masked]"
KEY_PREFIX = "lhk_"
# Shorter values would blank out ordinary words. Settings refuse shorter keys at the start; a
# shorter password is masked where it stands in a URL.
SECRET_LENGTH_MIN = 6

_OWN_KEY = re.compile(rb"lhk_[0-9A-Za-z]{4,}")
_IN_URL = re.compile(rb"(://)[^/\s\"'@]*@")
_AFTER_SCHEME = re.compile(rb"(?i)(bearer|basic)(\s+)[^\s\"',\\]{6,}")

PRESENTED: ContextVar[tuple[str, ...]] = ContextVar("llmhive_presented_secrets", default=())
"""What the caller of the request at hand presented as a credential, good or bad."""


class Masker:
    """Replaces every known secret in a text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Takes: the values of all configured secrets; empty ones do not count."""
        self._needles: tuple[bytes, ...] = ()
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask these from now on as well."""
        spelt = {form for secret in secrets for form in spellings(secret)}
        self._needles = tuple(sorted({*self._needles, *spelt}, key=len, reverse=True))

    def text(self, text: str) -> str:
        """The text with every secret replaced by a mark; lone surrogates survive."""
        return _masked(text, self._all_needles())

    def values(self, told: dict[str, Any]) -> dict[str, Any]:
        """The same for every text in a structure of JSON types.

        Keys and numbers stay, so that what a caller presents never breaks what is made of it.
        """
        needles = self._all_needles()
        return {name: _masked_within(value, needles) for name, value in told.items()}

    def _all_needles(self) -> tuple[bytes, ...]:
        presented = (form for secret in PRESENTED.get() for form in spellings(secret))
        return (*self._needles, *sorted(presented, key=len, reverse=True))


def _masked_within(value: Any, needles: tuple[bytes, ...]) -> Any:
    if isinstance(value, str):
        return _masked(value, needles)
    if isinstance(value, dict):
        return {name: _masked_within(each, needles) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_masked_within(each, needles) for each in value]
    return value


def _masked(text: str, needles: tuple[bytes, ...]) -> str:
    raw = text.encode("utf-8", "surrogatepass")
    for needle in needles:
        if needle in raw:
            raw = raw.replace(needle, MASK.encode())
    return _shapes(raw).decode("utf-8", "surrogatepass")


def _shapes(text: bytes) -> bytes:
    if KEY_PREFIX.encode() in text:
        text = _OWN_KEY.sub(MASK.encode(), text)
    if b"://" in text:
        text = _IN_URL.sub(rb"\1" + MASK.encode() + b"@", text)
    if b"earer" in text or b"asic" in text or b"BEARER" in text or b"BASIC" in text:
        text = _AFTER_SCHEME.sub(rb"\1\2" + MASK.encode(), text)
    return text


def spellings(secret: str) -> set[bytes]:
    """How a secret may stand in a text: plain, in JSON, in a URL, as Basic credentials."""
    if len(secret) < SECRET_LENGTH_MIN:
        return set()
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {secret, unquote(secret), quote(secret, safe="", errors="replace")}
    forms |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= {repr(secret)[1:-1]}
    found = {form.encode("utf-8", "surrogatepass") for form in forms}
    # The last group of base64 depends on what follows, so it is left out.
    basic = base64.b64encode(raw + b":").rstrip(b"=")
    return found | {basic[:-1]}
