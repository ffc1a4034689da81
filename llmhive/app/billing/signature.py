"""Whether a delivery comes from Stripe: its raw body, signed a moment ago with one of our secrets.

Pure: whoever asks says what time it is. Source: Stripe, "Verify webhook signatures manually"
(2026-10): `t=<seconds>,v1=<HMAC-SHA256 of "t.body">`, several `v1` while a secret is rotated.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

from llmhive.app.billing.model import DeliveryRejectedError, Rejection

# Stripe sends one `v1` for each active secret, of which there are two at most.
SIGNATURES_MAX: Final = 16
HEADER_LENGTH_MAX: Final = 4096
SECONDS: Final = re.compile(rb"[0-9]{1,12}")
SCHEME: Final = b"v1"


def verify(
    body: bytes, header: bytes | None, secrets: Sequence[str], *, now: float, tolerance_s: float
) -> None:
    """Believe a delivery.

    Takes: the raw body, the header as it came, every secret that counts, wall-clock seconds.
    Raises: DeliveryRejectedError (400, definite) with the reason.
    """
    if not any(secrets):
        raise DeliveryRejectedError(Rejection.NOT_CONFIGURED)
    if not header:
        raise DeliveryRejectedError(Rejection.MISSING_SIGNATURE)
    at, signatures = _parts(header)
    signed = at + b"." + body
    expected = [_mac(secret, signed) for secret in secrets if secret]
    # All are compared, whichever fits, so that the time taken tells nothing.
    found = [hmac.compare_digest(one, given) for one in expected for given in signatures]
    if not any(found):
        raise DeliveryRejectedError(Rejection.WRONG_SIGNATURE)
    age_s = now - int(at)
    if age_s > tolerance_s:
        raise DeliveryRejectedError(Rejection.TOO_OLD)
    if age_s < -tolerance_s:
        raise DeliveryRejectedError(Rejection.IN_THE_FUTURE)


def _parts(header: bytes) -> tuple[bytes, list[bytes]]:
    """The time and the signatures of the one scheme that counts."""
    pairs = [part.strip().partition(b"=") for part in header.split(b",")]
    times = [value for name, _, value in pairs if name == b"t"]
    signatures = [value for name, _, value in pairs if name == SCHEME]
    is_bounded = len(header) <= HEADER_LENGTH_MAX and len(signatures) <= SIGNATURES_MAX
    if not is_bounded or len(times) != 1 or not SECONDS.fullmatch(times[0]):
        raise DeliveryRejectedError(Rejection.MALFORMED_SIGNATURE)
    if not signatures:
        raise DeliveryRejectedError(Rejection.MISSING_SIGNATURE)
    return times[0], signatures


def _mac(secret: str, signed: bytes) -> bytes:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
