"""Circuit records in a real Redis, held to the same behaviour as those in memory."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmhive.app.adapters.memory_circuits import MemoryCircuitStore
from llmhive.app.adapters.redis_circuits import RedisCircuitStore
from llmhive.app.adapters.redis_link import RedisLink
from llmhive.app.breakers.model import (
    BreakerConfig,
    CircuitRecord,
    CircuitState,
    Forced,
)
from llmhive.app.breakers.ports import CircuitStore, CircuitStoreError
from llmhive.tests.adapters.hand_timed_redis import HandTimedLink
from llmhive.tests.fakes import FakeClock
from llmhive.tests.redis_server import RedisServer

CLOSED, HALF_OPEN, OPEN = CircuitState.CLOSED, CircuitState.HALF_OPEN, CircuitState.OPEN
CONFIG = BreakerConfig()
# Time stands still, in Redis' scripts too: a slow machine changes no reading.
CLOCK = FakeClock()


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisLink]:
    link = HandTimedLink(redis_server.url, CLOCK)
    yield link
    await link.close()


@pytest.fixture
def name() -> str:
    return f"openai:gpt-4o:{uuid.uuid4().hex}"


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, link: RedisLink) -> CircuitStore:
    if request.param == "memory":
        return MemoryCircuitStore(CLOCK, CONFIG)
    return RedisCircuitStore(link, CLOCK, CONFIG)


def _closed(epoch: str = "one") -> CircuitRecord:
    return CircuitRecord(CLOSED, epoch, since=CLOCK.monotonic())


def _open(wait_s: float, epoch: str = "one", **leases: float) -> CircuitRecord:
    """An open record; leases end so many seconds from now."""
    now = CLOCK.monotonic()
    ends = {lease_id: now + lasting for lease_id, lasting in leases.items()}
    state = HALF_OPEN if leases else OPEN
    return CircuitRecord(
        state, epoch, since=now, open_until=now + wait_s, reason="timed_out", openings=2,
        leases=ends,
    )  # fmt: skip


async def _lease(store: CircuitStore, name: str, lease_id: str, epoch: str = "one") -> bool:
    record = await store.lease(name, epoch, lease_id, 30.0)
    return record is not None and lease_id in record.leases


async def _finish(
    store: CircuitStore, name: str, lease_id: str, *, succeeded: bool = True
) -> CircuitRecord:
    record = await store.finish(name, "one", lease_id, succeeded=succeeded, next_epoch="two")
    assert record is not None
    return record


# -- what every store does


async def test_nothing_is_known_of_a_breaker_that_never_moved(
    store: CircuitStore, name: str
) -> None:
    assert await store.look([name, name]) == [None, None]


async def test_a_published_record_is_read_as_it_was(store: CircuitStore, name: str) -> None:
    now = CLOCK.monotonic()
    record = replace(_open(-1.0, a=20.0, b=-3.0), successes=1, cool_until=now + 4.0)
    await store.publish(name, record, expected="")

    (read,) = await store.look([name])

    assert read is not None
    assert _times(read) == pytest.approx(_times(record), abs=0.002)
    assert _facts(read) == _facts(record)


def _times(record: CircuitRecord) -> list[float]:
    ends = [end for _, end in sorted(record.leases.items())]
    return [record.since, record.open_until, record.cool_until, *ends]


def _facts(record: CircuitRecord | None) -> object:
    return record and (
        record.state, record.epoch, record.reason, record.forced, record.openings,
        record.successes, sorted(record.leases),
    )  # fmt: skip


async def test_a_record_is_replaced_only_by_who_knows_its_epoch(
    store: CircuitStore, name: str
) -> None:
    await store.publish(name, _closed("one"), expected="")

    refused = await store.publish(name, _open(9.0, "three"), expected="two")
    accepted = await store.publish(name, _open(9.0, "three"), expected="one")

    assert refused is not None
    assert accepted is not None
    assert (refused.epoch, accepted.epoch) == ("one", "three")


async def test_a_cool_down_outlives_a_transition(store: CircuitStore, name: str) -> None:
    await store.publish(name, _closed("one"), expected="")
    await store.cool_down(name, CLOCK.monotonic() + 9.0)

    record = await store.publish(name, _open(9.0, "two"), expected="one")

    assert record is not None
    assert record.cool_until - CLOCK.monotonic() == pytest.approx(9.0, abs=0.002)


async def test_an_operators_word_ends_a_cool_down(store: CircuitStore, name: str) -> None:
    await store.publish(name, _closed("one"), expected="")
    await store.cool_down(name, CLOCK.monotonic() + 9.0)
    forced = replace(_closed("two"), forced=Forced.CLOSED)

    record = await store.publish(name, forced, expected="one")

    assert record is not None
    assert record.cool_until <= CLOCK.monotonic() + 0.1


async def test_a_cool_down_is_never_shortened(store: CircuitStore, name: str) -> None:
    await store.publish(name, _closed(), expected="")
    await store.cool_down(name, CLOCK.monotonic() + 60.0)

    record = await store.cool_down(name, CLOCK.monotonic() + 1.0)

    assert record is not None
    assert record.cool_until - CLOCK.monotonic() > 55.0


async def test_three_slots_are_given_and_no_fourth(store: CircuitStore, name: str) -> None:
    await store.publish(name, _open(-0.1), expected="")

    granted = await asyncio.gather(*(_lease(store, name, f"probe-{n}") for n in range(50)))

    assert sum(granted) == 3


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(lambda: _open(20.0), id="still-waiting"),
        pytest.param(_closed, id="closed"),
        pytest.param(lambda: _open(-0.1, "other"), id="another-epoch"),
        pytest.param(lambda: _open(-0.1, a=-0.1), id="an-expired-probe"),
        pytest.param(lambda: replace(_open(-0.1), forced=Forced.OPEN), id="forced"),
    ],
)
async def test_no_slot_is_given(
    store: CircuitStore, name: str, record: Callable[[], CircuitRecord]
) -> None:
    await store.publish(name, record(), expected="")

    assert not await _lease(store, name, "mine")


async def test_no_slot_is_given_of_a_record_that_is_not_there(
    store: CircuitStore, name: str
) -> None:
    assert await store.lease(name, "one", "mine", 30.0) is None
    assert await store.cool_down(name, CLOCK.monotonic() + 1.0) is None


async def test_the_third_success_closes_and_ends_every_lease(
    store: CircuitStore, name: str
) -> None:
    await store.publish(name, _open(-0.1, a=9.0, b=9.0, c=9.0, d=9.0), expected="")

    states = [(await _finish(store, name, lease_id)).state for lease_id in "abc"]
    (record,) = await store.look([name])

    assert states == [HALF_OPEN, HALF_OPEN, CLOSED]
    assert _facts(record) == (CLOSED, "two", "", Forced.NO, 0, 0, [])


async def test_a_neutral_end_frees_the_slot_and_counts_nothing(
    store: CircuitStore, name: str
) -> None:
    await store.publish(name, _open(-0.1, a=9.0, b=9.0, c=9.0), expected="")

    record = await _finish(store, name, "a", succeeded=False)

    assert (record.successes, sorted(record.leases)) == (0, ["b", "c"])
    assert await _lease(store, name, "d")


async def test_a_slot_ends_once(store: CircuitStore, name: str) -> None:
    await store.publish(name, _open(-0.1, a=9.0, b=9.0), expected="")

    for _ in range(5):
        record = await _finish(store, name, "a")

    assert (record.state, record.successes) == (HALF_OPEN, 1)


async def test_an_expired_slot_cannot_succeed_any_more(store: CircuitStore, name: str) -> None:
    await store.publish(name, _open(-0.1, a=-0.1), expected="")

    record = await _finish(store, name, "a")

    assert (record.successes, sorted(record.leases)) == (0, ["a"])


@settings(max_examples=80, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=25))
def test_redis_and_memory_agree_on_any_history(
    redis_server: RedisServer, steps: list[tuple[int, int]]
) -> None:
    async def run() -> None:
        link = HandTimedLink(redis_server.url, CLOCK)
        name = uuid.uuid4().hex
        both: list[CircuitStore] = [
            MemoryCircuitStore(CLOCK, CONFIG),
            RedisCircuitStore(link, CLOCK, CONFIG),
        ]
        for verb, which in steps:
            ours, theirs = [await _step(store, name, verb, which) for store in both]
            assert _facts(ours) == _facts(theirs)
        await link.close()

    asyncio.run(run())


async def _step(store: CircuitStore, name: str, verb: int, which: int) -> CircuitRecord | None:
    epoch, lease_id = f"epoch-{which % 2}", f"lease-{which}"
    match verb:
        case 0:
            return await store.publish(name, _open(-5.0, "epoch-1"), expected=epoch)
        case 1:
            return await store.publish(name, _closed("epoch-0"), expected=epoch)
        case 2 | 3:
            return await store.lease(name, "epoch-1", lease_id, 30.0)
        case _:
            return await store.finish(
                name, "epoch-1", lease_id, succeeded=verb == 4, next_epoch="epoch-0"
            )


# -- what Redis does besides


async def test_the_key_is_a_hash_that_stays(link: RedisLink, name: str) -> None:
    await RedisCircuitStore(link, CLOCK, CONFIG).publish(name, _open(9.0), expected="")

    key = f"llmhive:circuit:{name}"

    assert await link.command("TTL", key) == -1
    assert await link.command("HGET", key, "state") in {"open", b"open"}


async def test_a_clock_stepped_back_begins_the_wait_anew_and_no_more(
    link: RedisLink, name: str
) -> None:
    store, step_s = RedisCircuitStore(link, CLOCK, CONFIG), 3600.0
    ahead = CLOCK.monotonic() + step_s
    stepped = replace(_open(step_s + 30.0, a=step_s + 9.0), since=ahead)
    await store.publish(name, stepped, expected="")

    (record,) = await store.look([name])

    assert record is not None
    waits = [each - CLOCK.monotonic() for each in (record.open_until, record.leases["a"])]
    assert waits == pytest.approx([30.0, 9.0], abs=0.002)


UNREADABLE = [
    ("HSET", "state", "sideways"),
    ("HSET", "state", "CLOSED"),
    ("HSET", "forced", "yes"),
    ("HSET", "epoch", b"\xff"),
    ("HSET", "since", "noon"),
    ("HSET", "open_until", "1.5"),
    ("HSET", "openings", "9" * 16),
    ("HSET", "probe:a", "soon"),
    ("HDEL", "reason"),
    ("HDEL", "epoch"),
    ("SET", "closed"),
]


@pytest.mark.parametrize("edit", UNREADABLE, ids=lambda edit: f"{edit[0]}-{edit[1]}")
async def test_a_record_that_cannot_be_read_counts_as_none_and_is_replaced(
    link: RedisLink, name: str, edit: tuple[str | bytes, ...]
) -> None:
    store = RedisCircuitStore(link, CLOCK, CONFIG)
    await store.publish(name, _closed("one"), expected="")
    await link.command(edit[0], f"llmhive:circuit:{name}", *edit[1:])

    read = await store.look([name])
    replaced = await store.publish(name, _open(9.0, "two"), expected="")

    assert read == [None]
    assert _facts(replaced) == _facts(_open(9.0, "two"))


async def test_a_reason_in_any_bytes_is_read(link: RedisLink, name: str) -> None:
    store = RedisCircuitStore(link, CLOCK, CONFIG)
    await store.publish(name, _closed("one"), expected="")
    await link.command("HSET", f"llmhive:circuit:{name}", "reason", b"\xffaulty")

    (record,) = await store.look([name])

    assert record is not None
    assert (record.epoch, record.reason) == ("one", "\ufffdaulty")


async def test_an_unreachable_redis_is_said_to_be_one(name: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        link = RedisLink(f"redis://127.0.0.1:{closed.getsockname()[1]}/0")

        with pytest.raises(CircuitStoreError):
            await RedisCircuitStore(link, CLOCK, CONFIG).look([name])

    await link.close()
