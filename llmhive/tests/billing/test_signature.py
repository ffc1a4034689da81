"""Deliveries are believed by their signature, and by nothing less."""

from __future__ import annotations

import pytest

from llmhive.app.billing.model import DeliveryRejectedError, Rejection
from llmhive.app.billing.signature import HEADER_LENGTH_MAX, SIGNATURES_MAX, verify
from llmhive.tests.billing.stripe_says import SECRET, signed

BODY, NOW = b'{"id": "evt_1"}', 1_790_000_000.0
RIGHT = signed(BODY, NOW)
TIME, _, MAC = RIGHT.partition(b",")

REFUSED = {
    "missing": (None, Rejection.MISSING_SIGNATURE),
    "empty": (b"", Rejection.MISSING_SIGNATURE),
    "no v1": (TIME, Rejection.MISSING_SIGNATURE),
    "another scheme": (RIGHT.replace(b"v1", b"v0"), Rejection.MISSING_SIGNATURE),
    "no time": (MAC, Rejection.MALFORMED_SIGNATURE),
    "a word for a time": (b"t=now," + MAC, Rejection.MALFORMED_SIGNATURE),
    "a negative time": (b"t=-1," + MAC, Rejection.MALFORMED_SIGNATURE),
    "two times": (TIME + b"," + RIGHT, Rejection.MALFORMED_SIGNATURE),
    "digits of another script": ("t=１２３,v1=x".encode(), Rejection.MALFORMED_SIGNATURE),  # noqa: RUF001  on purpose
    "nonsense": (b"====,,,", Rejection.MALFORMED_SIGNATURE),
    "too long": (RIGHT + b"," * HEADER_LENGTH_MAX, Rejection.MALFORMED_SIGNATURE),
    "too many": (RIGHT + b",v1=a" * SIGNATURES_MAX, Rejection.MALFORMED_SIGNATURE),
    "not ASCII": (TIME + b",v1=\xe9\xff", Rejection.WRONG_SIGNATURE),
    "in upper case": (TIME + b"," + MAC.replace(b"v1=", b"v1=A"), Rejection.WRONG_SIGNATURE),
    "another secret": (signed(BODY, NOW, "whsec_other"), Rejection.WRONG_SIGNATURE),
    "too old": (signed(BODY, NOW - 301), Rejection.TOO_OLD),
    "from the future": (signed(BODY, NOW + 301), Rejection.IN_THE_FUTURE),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_with_its_reason(case: str) -> None:
    header, reason = REFUSED[case]

    with pytest.raises(DeliveryRejectedError) as refusal:
        verify(BODY, header, [SECRET], now=NOW, tolerance_s=300)

    assert (refusal.value.reason, refusal.value.http_status) == (reason, 400)


@pytest.mark.parametrize("header", [RIGHT, MAC + b", " + TIME, b"v1=x,v0=y," + RIGHT + b",v1=z"])
def test_one_right_signature_is_enough_wherever_it_stands(header: bytes) -> None:
    verify(BODY, header, ["whsec_new", SECRET], now=NOW + 300, tolerance_s=300)

    with pytest.raises(DeliveryRejectedError):
        verify(BODY + b" ", header, ["whsec_new", SECRET], now=NOW + 300, tolerance_s=300)


@pytest.mark.parametrize("secrets", [[], [""]])
def test_without_a_secret_nothing_is_believed(secrets: list[str]) -> None:
    with pytest.raises(DeliveryRejectedError) as refusal:
        verify(BODY, signed(BODY, NOW, ""), secrets, now=NOW, tolerance_s=300)

    assert refusal.value.reason is Rejection.NOT_CONFIGURED
