"""Signed webhooks as Stripe sends them, made at the moment at which they leave.

A signature is good for minutes only, so none is made in advance. Standard library only.
Source: Stripe, "Verify webhook signatures manually" (scheme v1, 2026-09-27).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final

SIGNATURE: Final = "Stripe-Signature"


def body(template: Mapping[str, Any], run_id: str, index: int, now_s: float) -> bytes:
    """The event of request `index`: an id of its own that carries the run, created now."""
    event = {**template, "id": f"evt_{run_id}_{index}".replace("-", "_"), "created": int(now_s)}
    return json.dumps(event, separators=(",", ":")).encode()


def signature(payload: bytes, secret: str, now_s: float) -> str:
    """The value of the `Stripe-Signature` header."""
    stamp = int(now_s)
    signed = hmac.new(secret.encode(), b"%d." % stamp + payload, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={signed}"
