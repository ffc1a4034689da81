"""What the fields of the limits say, read from their text."""

from __future__ import annotations

import httpx
import pytest

from verification.harness.answer import Answer, Request
from verification.harness.limit_fields import limit_fields


def answer(**fields: str) -> Answer:
    headers = httpx.Headers({name.replace("_", "-"): value for name, value in fields.items()})
    asked = Request(method="POST", url="http://127.0.0.1/", headers=(), body=b"")
    return Answer(request=asked, headers=headers, sent_s=0.0, done_s=0.0)


def test_each_limit_is_told_apart() -> None:
    said = limit_fields(
        answer(
            ratelimit='"requests";r=9;t=60, "tokens";r=-1;t=7',
            ratelimit_policy='"requests";q=10;w=60, "in_flight";q=2;qu="concurrent-requests"',
        )
    )

    assert said.remaining == {"requests": 9, "tokens": -1}
    assert said.reset_s == {"requests": 60, "tokens": 7}
    assert (said.quota, said.window_s) == ({"requests": 10, "in_flight": 2}, {"requests": 60})


@pytest.mark.parametrize("text", ["", "9", "requests;r=9", '"requests";r=9,', '"requests" r=9'])
def test_what_is_no_list_of_limits_says_nothing(text: str) -> None:
    assert limit_fields(answer(ratelimit=text)).remaining == {}


def test_a_local_decision_is_told() -> None:
    assert limit_fields(answer(x_ratelimit_degraded="local")).is_degraded
