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
from verification.harness.redis_view import KeyView
from verification.harness.target import Target
from verification.harness.waiting import together_over
from verification.history import History
from verification.suites.limits.callers import held, paced, slow_stream
from verification.suites.limits.scales import BUSY, LEASE_S, PREFIX, SHORT, WINDOW_S
from verification.verdict import UnknownVerdict

# Enough callers to leave a count in most of the window's buckets.
CALLERS = 3


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

    together_over(
        range(CALLERS),
        lambda _: paced(target, user, history, every_s=0.0, for_s=1.5 * WINDOW_S),
    )
    held(target, user, name, 2)
    keys, views = redis.keys(window_pattern(user.id, PREFIX)), redis.dump()
    ends = {key: redis.command("PEXPIRETIME", key) for key in keys}
    sizes = {key: (redis.memory_bytes(key), len(redis.hash(key))) for key in keys}

    seen = {view.name for view in views}
    if not any(ends.values()) or in_flight_key(user.id, PREFIX) not in seen:
        raise UnknownVerdict(f"expected a window and places in flight of the user, got {seen}")
    assert [said for view in views if (said := strange(view))] == []
    assert [
        key
        for key, end_ms in ends.items()
        if end_ms > 0 and end_ms != int(key.rpartition(":")[2]) + 2 * WINDOW_S * 1000
    ] == []
    assert max(size for size, _ in sizes.values()) <= WINDOW_KEY_BYTES_MAX
    assert max(count for _, count in sizes.values()) <= BUCKETS_MAX
