"""Any history of one user: never more than L in any W, never wrongly refused, waits that hold."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from llmhive.app.limits.model import BUCKETS, Demand, Limit, Tier
from llmhive.app.limits.windows import Windows

TIER = Tier(requests=4, tokens=50, in_flight=10**6)
# One whose bucket is whole milliseconds, one whose is not, one shorter than its buckets.
WINDOWS_MS = st.sampled_from([60_000, 3_000, 1_000, 977, 50])
STARTS_MS = st.integers(0, 10**7)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what became of it."""

    at_ms: int
    tokens: int
    refused_by: Limit | None
    wait_ms: int


def paces(window_ms: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    """Pauses around everything that matters, in ms, each before a request of so many tokens."""
    bucket = window_ms // BUCKETS
    edges = [0, 1, bucket - 1, bucket, bucket + 1, window_ms // 3, window_ms - 1, window_ms]
    pauses = st.sampled_from([max(0, each) for each in [*edges, window_ms + bucket]])
    return st.lists(st.tuples(pauses, st.integers(0, 30)), max_size=60)


def play(window_ms: int, start_ms: int, pace: list[tuple[int, int]]) -> list[Asked]:
    """Ask at every step, and remember."""
    windows, now_ms, asked = Windows(window_ms), start_ms, []
    for count, (pause_ms, tokens) in enumerate(pace):
        now_ms += pause_ms
        decision = windows.admit(Demand("user", f"{count}", tokens, TIER), now_ms, 1)
        asked.append(Asked(now_ms, tokens, decision.refused_by, decision.wait_ms))
    return asked


def admitted_between(asked: list[Asked], after_ms: float, until_ms: int) -> list[Asked]:
    """What was admitted after the one moment and until the other."""
    return [
        each for each in asked if each.refused_by is None and after_ms <= each.at_ms <= until_ms
    ]


@settings(deadline=None)
@given(data=st.data(), window_ms=WINDOWS_MS, start_ms=STARTS_MS)
def test_no_window_wherever_it_begins_holds_more_than_the_limits(
    data: st.DataObject, window_ms: int, start_ms: int
) -> None:
    asked = play(window_ms, start_ms, data.draw(paces(window_ms)))

    held = [admitted_between(asked, each.at_ms - window_ms + 1, each.at_ms) for each in asked]

    assert max((len(each) for each in held), default=0) <= TIER.requests
    assert max((sum(one.tokens for one in each) for each in held), default=0) <= TIER.tokens


@settings(deadline=None)
@given(data=st.data(), window_ms=WINDOWS_MS, start_ms=STARTS_MS)
def test_whoever_is_refused_has_used_it_up_within_a_window_and_a_bucket(
    data: st.DataObject, window_ms: int, start_ms: int
) -> None:
    asked = play(window_ms, start_ms, data.draw(paces(window_ms)))
    span_ms = window_ms + window_ms / BUCKETS

    for count, each in enumerate(asked):
        used = admitted_between(asked[:count], each.at_ms - span_ms, each.at_ms)
        tokens = sum(one.tokens for one in used) + each.tokens
        is_full = {
            Limit.REQUESTS: len(used) >= TIER.requests,
            Limit.TOKENS: tokens > TIER.tokens,
        }
        assert each.refused_by is None or is_full[each.refused_by]


@settings(deadline=None)
@given(data=st.data(), window_ms=WINDOWS_MS, start_ms=STARTS_MS)
def test_a_lone_caller_who_waits_as_told_is_admitted(
    data: st.DataObject, window_ms: int, start_ms: int
) -> None:
    # Free of tokens, so that they use up whatever requests are left.
    burst = [(0, 0)] * TIER.requests
    pace = [*data.draw(paces(window_ms)), *burst, (0, data.draw(st.integers(0, 50)))]
    asked = play(window_ms, start_ms, pace)

    again = play(window_ms, start_ms, [*pace, (asked[-1].wait_ms, asked[-1].tokens)])

    assert asked[-1].refused_by
    assert again[-1].refused_by is None


@settings(deadline=None)
@given(data=st.data(), window_ms=WINDOWS_MS, start_ms=STARTS_MS)
def test_no_wait_is_longer_than_a_window_and_a_bucket(
    data: st.DataObject, window_ms: int, start_ms: int
) -> None:
    asked = play(window_ms, start_ms, data.draw(paces(window_ms)))

    assert max((each.wait_ms for each in asked), default=0) <= window_ms + window_ms / BUCKETS + 1


def test_idle_users_are_forgotten_as_others_come() -> None:
    windows = Windows(60_000)
    for count in range(5000):
        windows.admit(Demand(f"user-{count}", f"{count}", 1, TIER), count * 100, 1)
        windows.settle(f"user-{count}", f"{count}", 0, 0, count * 100)

    assert len(windows) < 1500
