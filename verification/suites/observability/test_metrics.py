"""The metrics: what they say equals what this suite and the providers counted themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verification.contract import http, promises
from verification.contract.metrics import BY_NAME, DURATION_BUCKETS_BEYOND_S
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.waiting import eventually, together
from verification.suites.limits.scales import CALM, FREE

if TYPE_CHECKING:
    from verification.harness.metrics_view import Metrics
    from verification.harness.target import Target

REQUESTS = "llmhive_http_requests_total"
SECONDS = "llmhive_http_request_duration_seconds"
ENDINGS = ("_bucket", "_sum", "_count", "_created")
# All that parsers of HTTP know, so that they reach the service; only ordinary ones are labels.
RARE_VERBS = ("PROPFIND", "MKCOL", "LOCK", "UNLOCK", "COPY", "MOVE", "SEARCH", "REPORT", "PURGE")
VERBS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"}
# Series that the claim's own requests may add; each list of what callers chose is longer.
ADDED_MAX = 8


def chats(metrics: Metrics, **labels: str) -> float:
    """Requests to the chat route so far."""
    return metrics.sum(REQUESTS, route=http.CHAT.path, **labels)


@claim(
    "observability.metrics.summed",
    proves=[promises.METRICS_SUMMED],
    needs=[can.USERS, can.METRICS, can.WORKERS, can.RESTART],
    workers=2,
)
def test_every_scrape_counts_all_workers_and_a_killed_one_takes_nothing_away(
    target: Target,
) -> None:
    user = target.new_user("enterprise")
    before = chats(target.settled_metrics())

    results = [one for _ in range(4) for one in together(10, lambda: target.chat(user, "hello"))]
    for worker in target.reach_all_workers():
        with target.at_worker(worker) as there:
            results.append(target.chat(user, "hello", http=there))
    scrapes = [chats(target.settled_metrics()) - before for _ in range(8)]
    killed = target.kill_worker()
    back = eventually(
        target.workers, until=lambda pids: len(set(pids) - {killed}) == 2, within_s=10.0,
        claim="a killed worker is replaced",
    )  # fmt: skip
    after = chats(target.metrics()) - before

    assert len({result.served_by for result in results}) == 2
    assert scrapes == [len(results)] * 8
    assert (killed in back, after) == (False, len(results))


@claim(
    "observability.metrics.documented",
    proves=[promises.METRICS_BOUNDED],
    needs=[can.USERS, can.METRICS],
)
def test_names_and_labels_are_the_documented_ones_whatever_callers_send(target: Target) -> None:
    user = target.new_user("pro")
    before = len(target.settled_metrics().select(REQUESTS))
    for verb in RARE_VERBS:
        target.http.request(verb, http.CHAT.path)
    for number in range(12):
        target.chat(user, "hello", model=f"model-{number}")
        target.http.get(f"/api/{target.name()}", params={"q": str(number)})
    target.chat(user, "hello")

    metrics = target.settled_metrics()

    ours = {s.name for s in metrics.samples if s.name.startswith("llmhive_")}
    unknown = {name for name in ours if _base(name) not in BY_NAME and name not in BY_NAME}
    wrong = [
        s for s in metrics.samples if s.name in BY_NAME and not _is_documented(s.name, s.labels)
    ]
    assert unknown == set()
    assert wrong == []
    assert {sample.labels["method"] for sample in metrics.select(REQUESTS)} <= VERBS
    assert len(metrics.select(REQUESTS)) - before <= ADDED_MAX


def _base(name: str) -> str:
    return next((name.removesuffix(end) for end in ENDINGS if name.endswith(end)), name)


def _is_documented(name: str, labels: dict[str, str]) -> bool:
    metric = BY_NAME[name]
    closed = all(labels.get(label) in values for label, values in metric.values.items())
    return set(labels) == set(metric.labels) and closed


@claim(
    "observability.metrics.latency",
    proves=[promises.LATENCY_SHOWN],
    needs=[can.USERS, can.METRICS, can.SCRIPT],
)
def test_latency_is_measured_to_the_end_of_a_stream(target: Target) -> None:
    user = target.new_user("pro")
    pieces = [f"piece {number} " for number in range(6)]
    target.provider(target.providers[0]).reply(chunks=pieces, chunk_delay_s=0.1)
    before = target.settled_metrics().sum(f"{SECONDS}_sum", route=http.CHAT.path)

    results = together(4, lambda: target.chat(user, "hello", stream=True))
    metrics = target.settled_metrics()

    grown_s = metrics.sum(f"{SECONDS}_sum", route=http.CHAT.path) - before
    bounds_s = {float(one.labels["le"]) for one in metrics.select(f"{SECONDS}_bucket")}
    spent_s = sum(result.answer.done_s - result.answer.sent_s for result in results)
    assert [result.is_whole for result in results] == [True] * 4
    # Counted a moment after the last byte has gone; twice what callers saw would be too much.
    assert 4 * 0.5 <= grown_s < 2 * spent_s
    assert [bound for bound in bounds_s if DURATION_BUCKETS_BEYOND_S < bound < float("inf")] != []


@claim(
    "observability.metrics.errors",
    proves=[promises.ERRORS_SHOWN],
    needs=[can.USERS, can.METRICS, can.SCRIPT],
)
def test_errors_are_counted_by_code_also_those_inside_a_stream(target: Target) -> None:
    user = target.new_user("pro")
    first = target.provider(target.providers[0])
    before = target.settled_metrics()

    first.reply(times=3, chunks=["one ", "two "], cut_after_chunks=2, cut="rst")
    broken = [target.chat(user, "hello", stream=True) for _ in range(3)]
    refused = [target.chat(user, None) for _ in range(2)]
    after = target.settled_metrics()

    codes = {str(result.code) for result in broken}
    counted = {
        code: after.sum("llmhive_errors_total", code=code)
        - before.sum("llmhive_errors_total", code=code)
        for code in {*codes, "invalid_request"}
    }
    ends = [one.sum("llmhive_stream_ends_total", outcome="error") for one in (before, after)]
    assert [result.end.event if result.end else None for result in broken] == ["error"] * 3
    assert counted["invalid_request"] == len(refused)
    assert (sum(counted[code] for code in codes), ends[1] - ends[0]) == (3, 3)


@claim(
    "observability.metrics.refusals",
    proves=[promises.REFUSALS_SHOWN],
    needs=[can.USERS, can.METRICS],
    env=CALM,
    workers=2,
)
def test_refusals_are_counted_by_the_limit_that_refused(target: Target) -> None:
    user, name = target.new_user(), "llmhive_ratelimit_blocks_total"
    before = target.settled_metrics()

    results = [target.chat(user, "hello") for _ in range(FREE.requests + 4)]
    after = target.settled_metrics()

    refused = [result for result in results if result.status == 429]
    assert len(refused) >= 4
    assert after.sum(name, limit="requests") - before.sum(name, limit="requests") == len(refused)
    assert after.sum(name, limit="tokens") == before.sum(name, limit="tokens")


@claim(
    "observability.metrics.tokens",
    proves=[promises.TOKENS_SHOWN],
    needs=[can.USERS, can.METRICS, can.SCRIPT],
)
def test_tokens_are_counted_as_the_provider_reported_them(target: Target) -> None:
    user = target.new_user("pro")
    before = target.settled_metrics()
    target.provider(target.providers[0]).reply(usage={"prompt_tokens": 17, "completion_tokens": 29})

    results = [target.chat(user, "hello", stream=stream) for stream in (False, True, False)]
    after = target.settled_metrics()

    told = [result.body["usage"] for result in results]
    grown = {
        kind: after.sum("llmhive_tokens_total", kind=kind)
        - before.sum("llmhive_tokens_total", kind=kind)
        for kind in ("prompt", "completion")
    }
    assert [(one["prompt_tokens"], one["completion_tokens"]) for one in told] == [(17, 29)] * 3
    assert grown == {"prompt": 51, "completion": 87}


@claim(
    "observability.metrics.memory",
    proves=[promises.MEMORY_SHOWN],
    needs=[can.METRICS, can.WORKERS, can.RESTART],
    workers=2,
)
def test_the_memory_shown_is_that_of_all_workers(target: Target) -> None:
    shown = target.metrics().sum("llmhive_memory_bytes")
    resident = target.memory_bytes()

    # What a worker takes between a look of its own and ours, and the pages that both count.
    assert abs(shown - resident) < 40_000_000
    assert shown > 2 * 20_000_000


@claim(
    "observability.metrics.redis",
    proves=[promises.REDIS_FAILURES_SHOWN, promises.HEALTH_COMPONENTS],
    needs=[can.USERS, can.METRICS, can.FAULTS],
    faults=["redis"],
)
def test_metrics_and_health_say_that_redis_is_away_and_that_it_is_back(target: Target) -> None:
    user, name = target.new_user("pro"), "llmhive_redis_failures_total"
    before = target.metrics().sum(name)

    with target.faults.refuse("redis"):
        target.chat(user, "hello")
        away = eventually(
            lambda: (
                target.metrics().value("llmhive_redis_up"),
                target.component("redis")["state"],
            ),
            until=lambda seen: seen == (0, "down"),
            within_s=5.0,
            claim="metrics and health say that Redis is away",
        )
        failures = target.metrics().sum(name)
    back = eventually(
        lambda: (target.metrics().value("llmhive_redis_up"), target.component("redis")["state"]),
        until=lambda seen: seen == (1, "up"),
        within_s=5.0,
        claim="metrics and health say that Redis is back",
    )

    assert (away, back) == ((0, "down"), (1, "up"))
    assert failures > before
