"""The `Stripe-Signature` header, right by default, each part of it free to be wrong.

Source: Stripe, "Verify webhook signatures manually" (2026-10): HMAC-SHA256 under the whole
secret over `{t}.{raw body}`, in lower-case hexadecimal.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Final

HEADER: Final = "Stripe-Signature"


def mac(payload: bytes, secret: str, at: int | str) -> str:
    """The signature of a body at a time."""
    return hmac.new(secret.encode(), f"{at}.".encode() + payload, hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Signature:
    """The parts of a header, in order: `t`, `v1`, and whatever a claim makes of them."""

    parts: tuple[tuple[str, str], ...]
    separator: str = ","

    def __str__(self) -> str:
        return self.separator.join(f"{name}={value}" for name, value in self.parts)

    def without(self, name: str) -> Signature:
        """The same without that part."""
        kept = tuple(part for part in self.parts if part[0] != name)
        return Signature(kept, self.separator)

    def having(self, name: str, value: str) -> Signature:
        """The same with that value of every part of that name."""
        parts = tuple((one, value if one == name else old) for one, old in self.parts)
        return Signature(parts, self.separator)

    def renamed(self, name: str, to: str) -> Signature:
        """The same under another scheme, such as v0."""
        return Signature(
            tuple((to if one == name else one, value) for one, value in self.parts), self.separator
        )

    def after(self, name: str, value: str) -> Signature:
        """The same with one more part at the end."""
        return Signature((*self.parts, (name, value)), self.separator)

    def before(self, name: str, value: str) -> Signature:
        """The same with one more part in front of all."""
        return Signature(((name, value), *self.parts), self.separator)


def signature(payload: bytes, *secrets: str, at: int | None = None) -> Signature:
    """The header as Stripe sends it: a time, and a `v1` for each active secret.

    Takes: several secrets while one is being rotated; `at` in seconds of the wall clock, now
    by default.
    """
    moment = int(time.time()) if at is None else at
    signed = (("v1", mac(payload, secret, moment)) for secret in secrets)
    return Signature((("t", str(moment)), *signed))
