"""What the link to Redis promises, against a real Redis that is hung, killed and refused."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from llmhive.app.adapters.redis_link import (
    LuaScript,
    RedisAwayError,
    RedisBusyError,
    RedisFailure,
    RedisLink,
    RedisReplyError,
)
from llmhive.app.clock import SystemClock
from llmhive.tests.fakes import let_others_run
from llmhive.tests.redis_server import RedisServer

CLOCK = SystemClock()
COUNT = LuaScript("return redis.call('INCRBY', KEYS[1], ARGV[1])")
BUSY_FOR_2_MS = LuaScript("""
local function now() local t = redis.call('TIME') return t[1] * 1000000 + t[2] end
local start = now()
repeat until now() > start + 2000
""")
Connect = Callable[..., RedisLink]


class Watcher:
    """An observer that remembers everything."""

    def __init__(self) -> None:
        self.failures: list[RedisFailure] = []
        self.moves: list[bool] = []

    def redis_failed(self, kind: RedisFailure) -> None:
        self.failures.append(kind)

    def redis_moved(self, *, is_up: bool) -> None:
        self.moves.append(is_up)


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    links = []

    def connected(url: str, **options: object) -> RedisLink:
        links.append(RedisLink(url, **options))  # type: ignore[arg-type]  # the test knows them
        return links[-1]

    yield connected
    for link in links:
        await link.close()


@pytest.fixture
def key() -> str:
    return f"test:{uuid.uuid4().hex}"


async def _outcome(call: Awaitable[object]) -> object:
    try:
        return await call
    except (RedisAwayError, RedisBusyError) as error:
        return type(error)


async def _until(link: RedisLink, *, is_up: bool) -> float:
    """Wait until the link is up or down, and give how long that took, in seconds."""
    started = time.monotonic()
    while link.is_up is not is_up:
        assert time.monotonic() < started + 5.0, "the link stays as it is"
        await CLOCK.sleep(0.002)
    return time.monotonic() - started


# -- a healthy Redis


async def test_replies_reach_the_calls_that_asked(
    redis_server: RedisServer, connect: Connect
) -> None:
    link = connect(redis_server.url)

    replies = await asyncio.gather(*(link.command("ECHO", n) for n in range(300)))

    assert replies == [str(n).encode() for n in range(300)]


async def test_the_calls_of_one_tick_need_one_connection(
    own_redis: RedisServer, connect: Connect, key: str
) -> None:
    link = connect(own_redis.url)
    await asyncio.gather(*(link.script(COUNT, [key], [1]) for _ in range(200)))

    stats = dict(
        line.split(b":", 1)
        for line in (await link.command("INFO", "stats")).splitlines()
        if b":" in line
    )

    assert int(stats[b"total_connections_received"]) == 1


async def test_a_script_that_redis_forgot_is_sent_again_and_counts_once(
    redis_server: RedisServer, connect: Connect, key: str
) -> None:
    link = connect(redis_server.url, deadline_s=5.0)  # the machine may be slow, the promise is once
    await link.script(COUNT, [key], [1])
    await link.command("SCRIPT", "FLUSH")

    counts = await asyncio.gather(*(link.script(COUNT, [key], [1]) for _ in range(20)))

    assert sorted(counts) == list(range(2, 22))


async def test_a_refused_command_leaves_the_link_up(
    redis_server: RedisServer, connect: Connect, key: str
) -> None:
    link = connect(redis_server.url)
    await link.command("SET", key, "a text")

    with pytest.raises(RedisReplyError) as caught:
        await link.script(COUNT, [key], [1])

    assert (caught.value.definite, link.is_up) == (True, True)


async def test_cancelled_calls_shift_no_answers(
    redis_server: RedisServer, connect: Connect
) -> None:
    link = connect(redis_server.url)
    await link.open()
    for spared in range(100):
        calls = [asyncio.ensure_future(link.command("ECHO", n)) for n in range(5)]
        for _ in range(spared % 4):
            await asyncio.wait(calls, timeout=0)
        calls[spared % 5].cancel()
        replies = await asyncio.gather(*calls, return_exceptions=True)

        kept = [reply for n, reply in enumerate(replies) if n != spared % 5]
        assert kept == [str(n).encode() for n in range(5) if n != spared % 5]


async def test_what_was_cancelled_before_it_was_sent_is_not_sent(
    redis_server: RedisServer, connect: Connect, key: str
) -> None:
    link = connect(redis_server.url)
    await link.script(COUNT, [key], [1])
    calls = [asyncio.ensure_future(link.script(COUNT, [key], [1])) for _ in range(5)]
    await let_others_run(1)

    for call in calls:
        call.cancel()
    await asyncio.wait(calls)

    assert await link.script(COUNT, [key], [1]) == 2


async def test_the_reply_to_a_cancelled_call_is_handed_over(
    own_redis: RedisServer, connect: Connect, key: str
) -> None:
    link, orphans = connect(own_redis.url), asyncio.Queue[object]()
    await link.script(COUNT, [key], [1])
    call = asyncio.ensure_future(link.script(COUNT, [key], [7], orphaned=orphans.put_nowait))
    with own_redis.frozen():
        await asyncio.wait([call], timeout=0.01)
        call.cancel()

    assert await orphans.get() == 8


async def test_a_loop_held_up_does_not_take_redis_for_dead(
    redis_server: RedisServer, connect: Connect
) -> None:
    watcher = Watcher()
    link = connect(redis_server.url, observer=watcher)
    await link.open()

    call = asyncio.ensure_future(link.command("ECHO", "here"))
    await asyncio.wait([call], timeout=0)
    held_up_until = time.monotonic() + 0.3
    while time.monotonic() < held_up_until:
        pass

    assert await call == b"here"
    assert watcher.failures == []


async def test_too_much_at_once_is_busy_and_never_away(
    own_redis: RedisServer, connect: Connect
) -> None:
    link = connect(own_redis.url, max_connections=1, deadline_s=0.5)
    await link.open()

    # 100 of them leave at a time and take 0.2 s; the last of 600 would wait for 1.2 s.
    slow = [link.script(BUSY_FOR_2_MS, [], []) for _ in range(600)]
    outcomes = await asyncio.gather(*(_outcome(each) for each in slow))

    assert set(outcomes) == {None, RedisBusyError}
    assert link.is_up


# -- a Redis that is away


async def test_a_hung_redis_holds_a_call_up_for_the_deadline_and_no_longer(
    own_redis: RedisServer, connect: Connect
) -> None:
    link, waits = connect(own_redis.url), []
    await link.open()

    with own_redis.frozen():
        for _ in range(20):
            started = time.monotonic()
            assert await _outcome(link.command("PING")) is RedisAwayError
            waits.append(time.monotonic() - started)

    assert sorted(waits)[15] < 0.01
    assert max(waits) < 0.15


async def test_a_refused_connection_is_away_and_nothing_happened(connect: Connect) -> None:
    link = connect("unix:///nowhere/at/all.sock")

    with pytest.raises(RedisAwayError) as caught:
        await link.command("PING")

    assert caught.value.definite
    assert not link.is_up


async def test_a_lost_reply_leaves_the_outcome_open(
    own_redis: RedisServer, connect: Connect
) -> None:
    link = connect(own_redis.url)
    await link.open()

    with own_redis.frozen(), pytest.raises(RedisAwayError) as caught:
        await link.command("PING")

    assert not caught.value.definite


async def test_the_link_is_back_within_a_second_of_healing(
    own_redis: RedisServer, connect: Connect
) -> None:
    watcher = Watcher()
    link = connect(own_redis.url, observer=watcher)
    await link.open()
    with own_redis.frozen():
        await _outcome(link.command("PING"))
        await _until(link, is_up=False)
        await CLOCK.sleep(0.7)

    took_s = await _until(link, is_up=True)

    assert took_s < 1.0
    assert await link.command("PING") == b"PONG"
    assert watcher.moves == [True, False, True]


async def test_a_restarted_redis_is_used_again_though_nobody_asks(
    own_redis: RedisServer, connect: Connect
) -> None:
    link = connect(own_redis.url)
    await link.open()
    own_redis.kill()
    await _until(link, is_up=False)
    own_redis.start()

    assert await _until(link, is_up=True) < 1.0


async def test_a_long_outage_makes_few_connections(
    own_redis: RedisServer, connect: Connect
) -> None:
    link = connect(own_redis.url)
    await link.open()
    with own_redis.frozen():
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            await asyncio.gather(*(_outcome(link.command("PING")) for _ in range(50)))
            await CLOCK.sleep(0.01)
    await _until(link, is_up=True)

    stats = await link.command("INFO", "stats")

    assert int(stats.partition(b"total_connections_received:")[2].split()[0]) <= 8


@pytest.mark.parametrize(
    ("trouble", "cure"),
    [
        pytest.param(["CONFIG SET maxmemory 1"], ["CONFIG SET maxmemory 0"], id="out-of-memory"),
        pytest.param(["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"], id="read-only"),
        pytest.param(
            ["CONFIG SET min-replicas-to-write 1"],
            ["CONFIG SET min-replicas-to-write 0"],
            id="no-replicas",
        ),
    ],
)
async def test_a_redis_that_cannot_write_is_away_until_it_can(
    own_redis: RedisServer, connect: Connect, key: str, trouble: list[str], cure: list[str]
) -> None:
    watcher = Watcher()
    link, operator = connect(own_redis.url, observer=watcher), connect(own_redis.url)
    await asyncio.gather(link.open(), operator.open())
    for words in trouble:
        await operator.command(*words.split())

    assert await _outcome(link.script(COUNT, [key], [1])) is RedisAwayError
    await CLOCK.sleep(0.7)  # two attempts and more
    assert watcher.moves == [True, False]
    for words in cure:
        await operator.command(*words.split())

    assert await _until(link, is_up=True) < 1.0
    assert await link.script(COUNT, [key], [1]) == 1


async def test_nothing_is_sent_twice(own_redis: RedisServer, connect: Connect, key: str) -> None:
    link = connect(own_redis.url)
    await link.script(COUNT, [key], [0])
    with own_redis.frozen():
        await asyncio.gather(*(_outcome(link.script(COUNT, [key], [1])) for _ in range(5)))
    await _until(link, is_up=True)

    assert int(await link.command("GET", key)) <= 5
