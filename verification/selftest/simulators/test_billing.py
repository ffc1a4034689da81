"""Deliveries and readings of the ledger, as operations that the checker of exactly once reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import pytest

from verification.checkers.exactly_once import AppliedExactlyOnce
from verification.harness import billing, stripe_events
from verification.harness.http_client import Http
from verification.harness.stripe_signature import HEADER, signature
from verification.harness.users import User
from verification.history import History, Outcome
from verification.selftest.stack import peers

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from verification.harness.answer import Answer
    from verification.harness.target import Target

USER = User(id="vfy-1", key="k", customer="cus_1")
EVENT = stripe_events.invoice_paid(USER)


class Place:
    """As much of a target as billing needs: an address and a secret."""

    webhook_secret = "whsec_x"

    def __init__(self, url: str) -> None:
        self.http = Http(url)


def at(url: str) -> Target:
    """The place as a target."""
    return cast("Target", Place(url))


def says(status: str, body: bytes = b"{}") -> Callable[[socket.socket], object]:
    """A service that answers so."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return lambda wire: wire.sendall(head + body)


OUTCOMES = {
    "acknowledged": (says("200 OK"), Outcome.OK),
    "refused": (says("400 Bad Request"), Outcome.FAIL),
    "too large": (says("413 Too Large"), Outcome.FAIL),
    "in progress": (says("503 Unavailable"), Outcome.INFO),
    "redirected": (says("308 Permanent"), Outcome.INFO),
    "broken": (says("500 Error"), Outcome.INFO),
    "lost": (peers.resets, Outcome.INFO),
}


@pytest.mark.parametrize(("behave", "outcome"), OUTCOMES.values(), ids=list(OUTCOMES))
def test_a_delivery_is_recorded_with_what_it_can_have_done(
    behave: Callable[[socket.socket], object], outcome: Outcome
) -> None:
    history = History()

    with peers.peer(behave) as url:
        answer = billing.deliver(at(url), EVENT, history)

    recorded = history[0]
    assert (recorded.f, recorded.outcome) == ("deliver", outcome)
    assert [recorded.value[name] for name in ("event", "user", "kind", "invoice", "status")] == [
        EVENT.id,
        USER.id,
        "invoice.paid",
        EVENT.invoice,
        answer.status,
    ]


def test_a_delivery_that_nobody_took_certainly_did_nothing() -> None:
    with peers.peer(peers.closes) as url:
        pass
    history = History()

    billing.deliver(at(url), EVENT, history)

    assert history[0].outcome is Outcome.FAIL


def header_of(answer: Answer) -> str | None:
    """The signature that was sent."""
    return dict(answer.request.headers).get(HEADER.lower())


def test_a_delivery_is_signed_as_it_is_told() -> None:
    with peers.peer(says("400 Bad Request")) as url:
        target = at(url)
        told = [
            billing.deliver(target, EVENT, at=5),
            billing.deliver(target, EVENT, at=5, secret="whsec_y"),
            billing.deliver(target, EVENT, at=5, raw=b"other"),
            billing.deliver(target, EVENT, header="t=1,v1=é"),
            billing.deliver(target, EVENT, is_signed=False),
        ]

    assert [header_of(one) for one in told[:3]] == [
        str(signature(EVENT.payload, "whsec_x", at=5)),
        str(signature(EVENT.payload, "whsec_y", at=5)),
        str(signature(b"other", "whsec_x", at=5)),
    ]
    assert [header_of(told[3]) is None, header_of(told[4])] == [False, None]


def test_every_delivery_of_an_event_is_the_same_bytes() -> None:
    with peers.peer(says("200 OK")) as url:
        bodies = {billing.deliver(at(url), EVENT).request.body for _ in range(2)}

    assert bodies == {EVENT.payload}


def test_a_ledger_is_read_into_the_history_that_the_checker_judges() -> None:
    row = {"event": EVENT.id, "invoice": EVENT.invoice, "kind": EVENT.type}
    history = History()
    with peers.peer(says("200 OK")) as url:
        billing.deliver(at(url), EVENT, history)
    with peers.peer(says("200 OK", json.dumps({"entries": [row]}).encode())) as url:
        rows = billing.read_ledger(at(url), USER, history)

    assert rows == [row]
    AppliedExactlyOnce(EVENT.id)(history).require()


@pytest.mark.parametrize(
    "behave", [says("503 Unavailable"), says("200 OK", b"[]")], ids=["away", "no ledger"]
)
def test_a_ledger_that_cannot_be_read_says_nothing(
    behave: Callable[[socket.socket], object],
) -> None:
    history = History()

    with peers.peer(behave) as url:
        rows = billing.read_ledger(at(url), USER, history)

    assert (rows, history[0].outcome) == ([], Outcome.INFO)


def test_a_subscription_is_what_the_service_says() -> None:
    with peers.peer(says("200 OK", b'{"tier": "pro"}')) as url:
        assert billing.subscription(at(url), USER) == {"tier": "pro"}
