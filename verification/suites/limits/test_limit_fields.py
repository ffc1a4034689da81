"""What an answer says of the limits is true."""

from __future__ import annotations

from verification.contract import promises
from verification.contract.tiers import WINDOW_S
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.limit_fields import limit_fields
from verification.harness.target import Target
from verification.suites.limits.callers import decided_together
from verification.suites.limits.scales import CALM, FREE

# A window, the oldest bucket, and rounding up.
RESET_S_MAX = WINDOW_S + WINDOW_S / 60


@claim(
    "limits.fields.true",
    proves=[promises.LIMIT_FIELDS],
    needs=[can.USERS, can.METRICS, can.SHRINK, can.REDIS_READ, can.SCRIPT],
    env=CALM,
    workers=2,
)
def test_the_requests_left_fall_by_one_to_nothing_and_then_a_wait_is_told(target: Target) -> None:
    user, name = target.new_user(), target.name("message")

    with decided_together(target):
        results = [
            target.chat(user, name, stream=number % 2 == 1) for number in range(FREE.requests + 2)
        ]

    said = [limit_fields(one.answer) for one in results]
    left = [one.remaining.get("requests") for one in said]
    refused = [one for one in results if one.status != 200]
    assert left == [*reversed(range(FREE.requests)), 0, 0]
    assert {(one.status, one.code) for one in refused} == {(429, "rate_limited")}
    assert len(target.provider(target.providers[0]).journal(contains=name)) == FREE.requests
    assert all(1 <= one.reset_s["requests"] <= RESET_S_MAX for one in said)
    assert all(
        one.answer.retry_after_s == limit_fields(one.answer).reset_s["requests"] for one in refused
    )
