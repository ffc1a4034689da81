"""Who is believed: the raw body, freshly signed with a configured secret, and nothing else."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING

from verification.contract import http, promises
from verification.contract.billing import SIGNATURE_TOLERANCE_S
from verification.harness import billing, stripe_events, stripe_objects
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.stripe_signature import Signature, mac, signature
from verification.harness.waiting import together
from verification.suites.billing.scales import NEW, OLD, SMALL

if TYPE_CHECKING:
    from verification.harness.stripe_events import StripeEvent
    from verification.harness.target import Target
    from verification.harness.users import User

NEEDS = [can.STRIPE_SECRET, can.USERS, can.SCRIPT]
REJECTIONS = "llmhive_webhook_rejections_total"
# Deliveries that come at once from one address: Stripe's own bursts after an outage.
BURST = 60


def subscribed(target: Target, user: User) -> StripeEvent:
    """A new subscription to pro, as Stripe has it."""
    of = stripe_objects.subscription(user, plan="pro")
    target.stripe.put(subscription=of)
    return stripe_events.subscription_created(of)


def forged(event: StripeEvent, secret: str) -> dict[str, Signature | str]:
    """Headers of which each is wrong in one way, and right in all others."""
    now, far = int(time.time()), SIGNATURE_TOLERANCE_S * 2
    good = signature(event.payload, secret)
    return {
        "another secret": signature(event.payload, "whsec_of_somebody_else"),
        "an empty secret": signature(event.payload, ""),
        "another body": signature(event.payload + b" ", secret),
        "stale": signature(event.payload, secret, at=now - far),
        "from the future": signature(event.payload, secret, at=now + far),
        "its time exchanged": good.having("t", str(now + 1)),
        "another scheme": good.renamed("v1", "v0"),
        "no time": good.without("t"),
        "no signature": good.without("v1"),
        "a time in words": good.having("t", "now"),
        "a time that is none": f"t=NaN,v1={mac(event.payload, secret, 'NaN')}",
        "half a signature": good.having("v1", mac(event.payload, secret, now)[:32]),
        "not ASCII": "t=1,v1=\xe9\xff",
        "nonsense": "====,,,t",
        "very long": "t=1," + "v1=" + "a" * 10_000,
    }


@claim(
    "billing.signatures.forged",
    proves=[promises.SIGNATURES, promises.WEBHOOKS_SHOWN],
    needs=[*NEEDS, can.METRICS, can.LOGS],
)
def test_whatever_is_wrong_with_a_signature_is_refused_and_changes_nothing(
    target: Target,
) -> None:
    user = target.new_customer()
    event = subscribed(target, user)
    before = target.settled_metrics()

    refused = {
        case: billing.deliver(target, event, header=header)
        for case, header in forged(event, target.webhook_secret).items()
    }
    refused["unsigned"] = billing.deliver(target, event, is_signed=False)

    wrong = {case: one.status for case, one in refused.items() if one.status != 400}
    after, said = target.settled_metrics(), target.raw_log_text()
    counted = after.sum(REJECTIONS) - before.sum(REJECTIONS)
    reasons = {one.labels["reason"] for one in after.select(REJECTIONS)}
    grown = [
        r for r in reasons if after.sum(REJECTIONS, reason=r) > before.sum(REJECTIONS, reason=r)
    ]
    assert wrong == {}
    # Not believed, and too old, too new, ill-formed or missing: told apart, and nothing else told.
    assert len(grown) >= 5
    assert [word for word in (event.id, str(user.customer)) if word in said] == []
    assert {one.code for one in refused.values()} == {"webhook_signature_invalid"}
    assert counted == len(refused)
    assert (billing.read_ledger(target, user), billing.subscription(target, user)["tier"]) == (
        [],
        "free",
    )


@claim(
    "billing.signatures.malformed",
    proves=[promises.SIGNATURES, promises.WEBHOOKS_SHOWN],
    needs=[*NEEDS, can.METRICS],
)
def test_what_is_well_signed_and_yet_no_event_is_refused_and_counted(target: Target) -> None:
    event = subscribed(target, target.new_customer())
    told = json.loads(event.payload)
    bodies = {
        "nothing": b"",
        "no JSON": b"hello",
        "not UTF-8": b'{"id": "\xff\xfe"}',
        "cut": event.payload[:-2],
        "a list": b"[1]",
        "no event": b"{}",
        "no type": json.dumps({**told, "type": None}).encode(),
        "no id": json.dumps({**told, "id": None}).encode(),
        "about nothing": json.dumps({**told, "data": {}}).encode(),
    }
    before = target.settled_metrics().sum(REJECTIONS)

    refused = {case: billing.deliver(target, event, raw=body) for case, body in bodies.items()}
    counted = target.settled_metrics().sum(REJECTIONS) - before

    assert {case: one.status for case, one in refused.items()} == dict.fromkeys(bodies, 400)
    assert counted == len(bodies)


@claim("billing.signatures.refused-then-taken", proves=[promises.SIGNATURES], needs=NEEDS)
def test_a_refused_delivery_leaves_the_event_to_be_taken_later(target: Target) -> None:
    user = target.new_customer()
    event = subscribed(target, user)

    refused = billing.deliver(target, event, secret="whsec_of_somebody_else")
    taken = billing.deliver(target, event)

    assert (refused.status, taken.status) == (400, 200)
    assert [row["event"] for row in billing.read_ledger(target, user)] == [event.id]


@claim("billing.signatures.any-spelling", proves=[promises.SIGNATURES], needs=NEEDS)
def test_the_raw_body_counts_however_it_is_spelt(target: Target) -> None:
    users = [target.new_customer() for _ in range(4)]
    events = [subscribed(target, user) for user in users]
    told = [json.loads(event.payload) for event in events]
    bodies = [
        json.dumps(told[0], separators=(",", ":"), sort_keys=True).encode(),
        b"\r\n " + json.dumps(told[1], indent=7, ensure_ascii=True).encode() + b"\n\n",
        json.dumps(
            {**told[2], "note": "日本語 é \u2028 1.0", "n": 1.0}, ensure_ascii=False
        ).encode(),
        events[3].payload.replace(b"/", b"\\/"),
    ]

    answers = [
        billing.deliver(target, event, raw=body) for event, body in zip(events, bodies, strict=True)
    ]

    assert [answer.status for answer in answers] == [200] * 4
    assert [billing.subscription(target, user)["tier"] for user in users] == ["pro"] * 4


@claim("billing.signatures.one-of-several", proves=[promises.SIGNATURES], needs=NEEDS)
def test_one_right_signature_among_several_is_enough_wherever_it_stands(target: Target) -> None:
    users = [target.new_customer() for _ in range(3)]
    events = [subscribed(target, user) for user in users]
    right = [signature(event.payload, target.webhook_secret) for event in events]
    bad = "0" * 64
    headers = [
        right[0].before("v1", bad),
        right[1].after("v1", bad).after("v0", "x"),
        right[2].before("v1", bad).before("v1", bad).after("v1", bad),
    ]

    answers = [
        billing.deliver(target, event, header=header)
        for event, header in zip(events, headers, strict=True)
    ]

    assert [answer.status for answer in answers] == [200] * 3


@claim(
    "billing.signatures.rotation",
    proves=[promises.SECRET_ROTATION],
    needs=[can.STRIPE_SECRET, can.USERS, can.SCRIPT, can.SHRINK],
    env=SMALL,
)
def test_while_a_secret_is_rotated_both_are_taken_and_no_third(target: Target) -> None:
    events = [subscribed(target, target.new_customer()) for _ in range(4)]

    statuses = [
        billing.deliver(target, events[0], secret=OLD).status,
        billing.deliver(target, events[1], secret=NEW).status,
        billing.deliver(target, events[2], header=signature(events[2].payload, OLD, NEW)).status,
        billing.deliver(target, events[3], secret=f"{OLD},{NEW}").status,
    ]

    assert statuses == [200, 200, 200, 400]


@claim("billing.signatures.tolerance", proves=[promises.SIGNATURES], needs=NEEDS)
def test_a_signature_is_fresh_for_the_tolerance_to_either_side(target: Target) -> None:
    events = [subscribed(target, target.new_customer()) for _ in range(4)]
    # Far enough from the bound for a slow delivery, near enough to tell seconds from minutes.
    inside, outside = SIGNATURE_TOLERANCE_S - 30, SIGNATURE_TOLERANCE_S + 30

    statuses = [
        billing.deliver(target, event, at=int(time.time()) + shift).status
        for event, shift in zip(events, (-inside, inside, -outside, outside), strict=True)
    ]

    assert statuses == [200, 200, 400, 400]


@claim("billing.route", proves=[promises.WEBHOOK_ROUTE], needs=NEEDS)
def test_a_burst_is_taken_at_either_address_without_key_or_limit(target: Target) -> None:
    events = [subscribed(target, target.new_customer()) for _ in range(2)]
    paths = itertools.cycle([http.WEBHOOKS.path, f"{http.WEBHOOKS.path}/"])

    answers = together(BURST, lambda: billing.deliver(target, events[0], path=next(paths)))
    slash = billing.deliver(target, events[1], path=f"{http.WEBHOOKS.path}/")
    asked = target.http.get(http.WEBHOOKS.path)

    assert {answer.status for answer in answers} <= {200, 503}
    assert {answer.code for answer in answers} <= {None, "webhook_in_progress"}
    assert (slash.status, asked.status) == (200, 405)


@claim("billing.body.largest", proves=[promises.WEBHOOK_BODY], needs=NEEDS)
def test_a_body_as_large_as_its_bound_is_taken(target: Target) -> None:
    user = target.new_customer()
    event = subscribed(target, user)

    taken = billing.deliver(target, event, raw=event.payload.ljust(http.WEBHOOK_BODY_BYTES_MAX))

    assert (taken.status, billing.subscription(target, user)["tier"]) == (200, "pro")


@claim("billing.body.bounded", proves=[promises.WEBHOOK_BODY], needs=[can.STRIPE_SECRET])
def test_a_body_beyond_its_bound_is_refused_before_it_is_read(target: Target) -> None:
    size = http.WEBHOOK_BODY_BYTES_MAX + 1
    head = (
        f"POST {http.WEBHOOKS.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Stripe-Signature: {signature(b'', target.webhook_secret)}\r\n"
    )

    announced = target.http.raw(f"{head}Content-Length: {size}\r\n\r\n".encode(), timeout_s=5.0)
    chunk = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"
    streamed = target.http.raw(
        [f"{head}Transfer-Encoding: chunked\r\n\r\n".encode(), *[chunk] * 5], timeout_s=5.0
    )

    assert [answer.split(b" ", 2)[1:2] for answer in (announced, streamed)] == [[b"413"]] * 2
