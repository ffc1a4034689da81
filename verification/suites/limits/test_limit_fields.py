"""What an answer says of the limits is true."""

from __future__ import annotations

from itertools import product

from verification.contract import promises
from verification.contract.tiers import WINDOW_S
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.limit_fields import limit_fields
from verification.harness.target import Target
from verification.suites.limits.callers import decided_together
from verification.suites.limits.scales import CALM, FREE

# As a caller's mistake, and as the providers' own.
FAILURES = (400, 500)
QUOTA = {"requests": FREE.requests, "tokens": FREE.tokens, "in_flight": FREE.in_flight}
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


@claim(
    "limits.fields.failures",
    proves=[promises.LIMIT_FIELDS],
    needs=[can.USERS, can.METRICS, can.SHRINK, can.REDIS_READ, can.SCRIPT],
    env=CALM,
    workers=2,
)
def test_an_answer_that_tells_a_failure_tells_the_limits_too(target: Target) -> None:
    user, ways = target.new_user(), (False, True)
    marks = {status: target.name("failing") for status in FAILURES}
    for (status, mark), provider in product(marks.items(), target.providers):
        target.provider(provider).reply(contains=mark, status=status)

    with decided_together(target):
        failed = [
            target.chat(user, mark, stream=is_stream)
            for mark, is_stream in product(marks.values(), ways)
        ]

    said = [limit_fields(one.answer) for one in failed]
    left = [one.remaining.get("requests") for one in said]
    assert {one.status for one in failed} & {200, 429} == set()
    assert left == [FREE.requests - 1 - number for number in range(len(failed))]
    assert [one.quota for one in said] == [QUOTA] * len(failed)
