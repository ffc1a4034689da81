"""What providers were asked and what requests cost, as the metrics tell it: as they counted it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verification.contract import http, promises
from verification.harness import capabilities as can
from verification.harness.claims import claim

if TYPE_CHECKING:
    from verification.harness.target import Target

ATTEMPTS = "llmhive_provider_attempts_total"
SECONDS = "llmhive_provider_attempt_duration_seconds"
COST = "llmhive_tokens_per_request"
# What a provider takes, so that a duration tells its unit.
SLOW_S = 0.2
USAGE = {"prompt_tokens": 17, "completion_tokens": 29}


@claim(
    "observability.metrics.calls",
    proves=[promises.LATENCY_SHOWN, promises.ERRORS_SHOWN, promises.TOKENS_SHOWN],
    needs=[can.USERS, can.METRICS, can.SCRIPT],
)
def test_every_call_of_a_provider_is_counted_and_timed_and_what_a_request_cost(
    target: Target,
) -> None:
    user, (first, second) = target.new_user("pro"), target.providers[:2]
    target.provider(first).reply(times=1, status=400)
    target.provider(first).reply(delay_s=SLOW_S, usage=USAGE)
    target.provider(second).reply(delay_s=SLOW_S, usage=USAGE)
    before = target.settled_metrics()

    results = [target.chat(user, "hello", stream=stream) for stream in (False, True, False)]
    after = target.settled_metrics()

    def grown(name: str, **labels: str) -> float:
        return after.sum(name, **labels) - before.sum(name, **labels)

    calls = {name: len(target.provider(name).journal()) for name in (first, second)}
    served = {name: [one.body.get("provider") for one in results].count(name) for name in calls}
    assert {name: grown(ATTEMPTS, provider=name) for name in calls} == calls
    assert {name: grown(ATTEMPTS, provider=name, outcome="success") for name in calls} == served
    assert {name: grown(f"{SECONDS}_count", provider=name) for name in calls} == calls
    answered = sum(served.values())
    assert answered * SLOW_S <= grown(f"{SECONDS}_sum") < answered * SLOW_S * 500
    assert grown(f"{COST}_count") == answered > 0
    assert grown(f"{COST}_sum") == answered * sum(USAGE.values())


@claim("observability.metrics.readable", proves=[promises.PRINTED_METRICS], needs=[can.METRICS])
def test_the_page_says_that_it_is_prometheus_text(target: Target) -> None:
    answer = target.http.get(http.METRICS.path)

    # Prometheus from 3.0 takes no page that does not say so.
    told = answer.headers.get("content-type", "")
    assert (answer.status, told.startswith("text/plain")) == (200, True)
    assert "version=0.0.4" in told
