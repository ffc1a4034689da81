"""Signed webhooks as Stripe sends them, made at the moment at which they leave.

A signature is good for minutes only, so none is made in advance: an event is a text with marks
for what is its own. Standard library only. Source: Stripe, "Verify webhook signatures manually"
(scheme v1, 2026-10).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Final

SIGNATURE: Final = "Stripe-Signature"

OWN: Final = "__own__"
"""In a template: an id of this event's own."""
CREATED: Final = 1_111_111_111
"""In a template: when the event was made."""

UNHANDLED: Final = json.dumps(
    {
        "id": f"evt_{OWN}",
        "object": "event",
        "type": "customer.updated",
        "created": CREATED,
        "livemode": False,
        "data": {"object": {"object": "customer", "id": "cus_load"}},
    }
)
"""An event that no handler takes: checked, stored, answered, and of no effect on anybody."""


def body(templates: Sequence[str], run_id: str, index: int, now_s: float) -> bytes:
    """The event of request `index`, created now, with ids that carry the run."""
    own = f"{run_id}_{index}".replace("-", "_")
    template = templates[index % len(templates)] if templates else UNHANDLED
    return template.replace(OWN, own).replace(str(CREATED), str(int(now_s))).encode()


def signature(payload: bytes, secret: str, now_s: float) -> str:
    """The value of the `Stripe-Signature` header."""
    stamp = int(now_s)
    signed = hmac.new(secret.encode(), b"%d." % stamp + payload, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={signed}"
