"""What the limits leave in Redis is what is documented, and no more."""

from __future__ import annotations

from verification.contract import promises
from verification.contract.redis_keys import (
    BUCKETS_MAX,
    WINDOW_KEY_BYTES_MAX,
    in_flight_key,
    rule_for,
    window_pattern,
)
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.redis_view import KeyView, RedisView
from verification.harness.target import Target
from verification.harness.waiting import together_over
from verification.history import History
from verification.suites.limits.callers import paced, slow_stream
from verification.suites.limits.scales import BUSY, LEASE_S, PREFIX, SHORT, WINDOW_S
from verification.verdict import UnknownVerdict

# Enough callers to leave a count in most of the window's buckets.
CALLERS = 3
# What Redis says of the end of a key that has ended.
GONE_MS = -2


def strange(view: KeyView) -> str | None:
    """What is wrong with a key by the contract, None when nothing is."""
    rule = rule_for(view.name, PREFIX)
    if rule is None:
        return f"{view.name}: not documented"
    most_s = 2 * LEASE_S if rule.name == "inflight" else rule.ttl_max_s(WINDOW_S)
    is_timed = view.ttl_s is not None and view.ttl_s <= (most_s or 0)
    if view.kind not in rule.kinds or (rule.has_end and not is_timed):
        return f"{view.name}: a {view.kind} that ends in {view.ttl_s} s, expected {rule}"
    return None


@claim(
    "limits.redis.keys",
    proves=[promises.WINDOW_KEYS, promises.KNOWN_KEYS_ONLY],
    needs=[can.USERS, can.SHRINK, can.REDIS_READ, can.SCRIPT],
    env=SHORT,
    workers=2,
)
def test_the_keys_are_the_documented_ones_small_however_many_requests_and_end_in_time(
    target: Target, history: History
) -> None:
    user, name, redis = target.new_user(BUSY.name), target.name("message"), target.redis
    slow_stream(target, name)
    views: list[KeyView] = []
    windows: list[tuple[int, int, int]] = []

    def look(_: bytes) -> bool:
        views.extend(redis.dump())
        windows.extend(
            (_end_beyond_ms(key, redis), redis.memory_bytes(key), len(redis.hash(key)))
            for key in redis.keys(window_pattern(user.id, PREFIX))
        )
        return True

    together_over(
        range(CALLERS),
        lambda _: paced(target, user, history, every_s=0.0, for_s=1.5 * WINDOW_S),
    )
    target.chat(user, name, stream=True, leave_when=look)

    assert [said for view in views if (said := strange(view))] == []
    if not windows or in_flight_key(user.id, PREFIX) not in {view.name for view in views}:
        raise UnknownVerdict(f"expected a window and places in flight of the user, got {views}")
    assert {beyond_ms for beyond_ms, _, _ in windows} <= {0, GONE_MS}
    assert max(size for _, size, _ in windows) <= WINDOW_KEY_BYTES_MAX
    assert max(count for _, _, count in windows) <= BUCKETS_MAX


def _end_beyond_ms(key: str, redis: RedisView) -> int:
    """By how much a window's key ends later than two windows after its start."""
    end_ms = int(redis.command("PEXPIRETIME", key))
    start_ms = int(key.rpartition(":")[2])
    return GONE_MS if end_ms == GONE_MS else end_ms - start_ms - int(2 * WINDOW_S * 1000)
