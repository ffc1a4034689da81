"""What the link to Redis promises, against a real Redis that is hung, killed and refused."""

from __future__ import annotations

import asyncio
import select
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from llmhive.app.adapters.redis_link import (
    CONNECT_S,
    LuaScript,
    RedisAwayError,
    RedisBusyError,
    RedisFailure,
    RedisLink,
    RedisReplyError,
)
from llmhive.tests.adapters.redis_links import (
    CLOCK,
    DEADLINE_S,
    PATIENCE_S,
    ended_within,
    opened,
    seconds_until,
    until,
)
from llmhive.tests.fakes import FakeClock, let_others_run
from llmhive.tests.redis_server import RedisServer

COUNT = LuaScript("return redis.call('INCRBY', KEYS[1], ARGV[1])")
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


# -- a healthy Redis


async def test_replies_reach_the_calls_that_asked(
    redis_server: RedisServer, connect: Connect
) -> None:
    link = connect(redis_server.url, deadline_s=PATIENCE_S)

    replies = await asyncio.gather(*(link.command("ECHO", n) for n in range(300)))

    assert replies == [str(n).encode() for n in range(300)]


async def test_the_calls_of_one_tick_need_one_connection(
    own_redis: RedisServer, connect: Connect, key: str
) -> None:
    link = connect(own_redis.url, deadline_s=PATIENCE_S)
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
    link = connect(redis_server.url, deadline_s=PATIENCE_S)
    await link.script(COUNT, [key], [1])
    await link.command("SCRIPT", "FLUSH")

    counts = await asyncio.gather(*(link.script(COUNT, [key], [1]) for _ in range(20)))

    assert sorted(counts) == list(range(2, 22))


async def test_a_script_sent_whole_does_its_work_on_a_redis_that_does_not_know_it(
    own_redis: RedisServer, connect: Connect, key: str
) -> None:
    link = await opened(connect(own_redis.url, deadline_s=PATIENCE_S))
    fresh = LuaScript(f"return redis.call('INCRBY', KEYS[1], ARGV[1]) -- {key}", is_sent_whole=True)

    await link.script(fresh, [key], [1])

    stats = await link.command("INFO", "commandstats")
    assert b"cmdstat_evalsha" not in stats


async def test_a_refused_command_leaves_the_link_up(
    redis_server: RedisServer, connect: Connect, key: str
) -> None:
    link = connect(redis_server.url, deadline_s=PATIENCE_S)
    await link.command("SET", key, "a text")

    with pytest.raises(RedisReplyError) as caught:
        await link.script(COUNT, [key], [1])

    assert (caught.value.definite, link.is_up) == (True, True)


async def test_cancelled_calls_shift_no_answers(
    redis_server: RedisServer, connect: Connect
) -> None:
    link = connect(redis_server.url, deadline_s=PATIENCE_S)
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
    link = connect(redis_server.url, deadline_s=PATIENCE_S)
    await link.script(COUNT, [key], [1])
    calls = [asyncio.ensure_future(link.script(COUNT, [key], [1])) for _ in range(5)]

    # In the tick in which they ask: the writer's turn comes after it.
    asyncio.get_running_loop().call_soon(lambda: [call.cancel() for call in calls])
    await asyncio.wait(calls)

    assert await link.script(COUNT, [key], [1]) == 2


async def test_the_reply_to_a_cancelled_call_is_handed_over(
    own_redis: RedisServer, connect: Connect, key: str
) -> None:
    link = connect(own_redis.url, deadline_s=PATIENCE_S)
    orphans = asyncio.Queue[object]()
    await link.script(COUNT, [key], [1])
    call = asyncio.ensure_future(link.script(COUNT, [key], [7], orphaned=orphans.put_nowait))
    with own_redis.frozen():
        await asyncio.wait([call], timeout=0.01)
        call.cancel()

    assert await orphans.get() == 8


def _hold_up_the_loop(link: RedisLink) -> None:
    """Keep the event loop from running until a reply lies in the socket and is overdue."""
    assert link._lane
    writer = link._lane._connection._writer
    assert writer
    assert select.select([writer.get_extra_info("socket")], [], [], PATIENCE_S)[0]
    until = time.monotonic() + 2 * DEADLINE_S
    while time.monotonic() < until:
        pass


async def test_a_loop_held_up_does_not_take_redis_for_dead(
    redis_server: RedisServer, connect: Connect
) -> None:
    watcher = Watcher()
    link = await opened(connect(redis_server.url, observer=watcher))
    watcher.failures.clear()

    call = asyncio.ensure_future(link.command("ECHO", "here"))
    await let_others_run(1)  # the writer's turn, and no look for the reply
    _hold_up_the_loop(link)

    assert await call == b"here"
    assert watcher.failures == []


async def test_a_look_that_began_before_a_command_was_sent_does_not_judge_it(
    redis_server: RedisServer, connect: Connect
) -> None:
    link = await opened(connect(redis_server.url))
    await link.command("PING")
    lane = link._lane
    assert lane
    while isinstance(lane._timer, asyncio.TimerHandle):
        await CLOCK.sleep(0)  # one turn of the loop

    call = asyncio.ensure_future(link.command("ECHO", "here"))
    await let_others_run(1)
    _hold_up_the_loop(link)

    assert await call == b"here"


async def test_a_loop_held_up_does_not_take_redis_for_busy(
    redis_server: RedisServer, connect: Connect
) -> None:
    link = await opened(connect(redis_server.url, max_connections=1))

    calls = [asyncio.ensure_future(link.command("ECHO", "here")) for _ in range(101)]
    await let_others_run(1)  # the writer's turn, and no look for the reply
    _hold_up_the_loop(link)
    await asyncio.wait(calls)

    assert calls[0].result() == b"here"
    assert RedisBusyError not in {type(call.exception()) for call in calls}


async def test_too_much_at_once_is_busy_and_never_away(
    own_redis: RedisServer, connect: Connect, key: str
) -> None:
    link = await opened(connect(own_redis.url, max_connections=1, deadline_s=1.0))
    operator = await opened(connect(own_redis.url, deadline_s=PATIENCE_S))

    # Two batches that Redis holds until their gates open, and one that finds no room.
    held = [[("BLPOP", f"{key}:{gate}", 0), *[("PING",)] * 99] for gate in (1, 2)]
    words = [*held[0], *held[1], *[("PING",)] * 100]
    calls = [asyncio.ensure_future(_outcome(link.command(*each))) for each in words]
    await CLOCK.sleep(0.5)  # when the third batch gives up, the second is not yet overdue
    await operator.command("LPUSH", f"{key}:1", "open")
    await asyncio.wait(calls[200:])
    await operator.command("LPUSH", f"{key}:2", "open")
    outcomes = await asyncio.gather(*calls)

    assert outcomes[1:100] == [b"PONG"] * 99
    assert outcomes[200:] == [RedisBusyError] * 100
    assert link.is_up


# -- a Redis that is away


async def test_a_hung_redis_holds_a_call_up_for_the_deadline_and_no_longer(
    own_redis: RedisServer, connect: Connect
) -> None:
    link = await opened(connect(own_redis.url))

    with own_redis.frozen():
        assert await ended_within(_outcome(link.command("PING")), 2 * DEADLINE_S) is RedisAwayError
        await until(link, is_up=False)
        later = [await ended_within(_outcome(link.command("PING")), 0.0) for _ in range(20)]

    assert later == [RedisAwayError] * 20


async def test_a_call_after_the_first_late_one_is_held_up_no_longer_than_that(
    own_redis: RedisServer, connect: Connect
) -> None:
    link = await opened(connect(own_redis.url))

    with own_redis.frozen():
        await _outcome(link.command("PING"))
        second = await ended_within(_outcome(link.command("PING")), 1.5 * DEADLINE_S)

    assert second is RedisAwayError


async def test_a_burst_that_redis_does_not_take_is_held_up_no_longer(
    own_redis: RedisServer, connect: Connect
) -> None:
    link = await opened(connect(own_redis.url, max_connections=1))

    with own_redis.frozen():
        burst = [asyncio.ensure_future(_outcome(link.command("PING"))) for _ in range(150)]
        await ended_within(asyncio.gather(*burst), 2 * DEADLINE_S)

    assert {each.result() for each in burst} <= {RedisAwayError, RedisBusyError}


async def test_a_call_that_meets_a_connection_at_its_end_is_told_in_time(
    own_redis: RedisServer, connect: Connect
) -> None:
    link = await opened(connect(own_redis.url))
    assert link._lane

    with own_redis.frozen():
        link._lane.end("lost")
        outcome = await ended_within(_outcome(link.command("PING")), 2 * DEADLINE_S)

    assert outcome is RedisAwayError


async def test_a_call_that_waits_when_its_connection_ends_is_told_in_time(
    own_redis: RedisServer, connect: Connect
) -> None:
    link = await opened(connect(own_redis.url))
    assert link._lane

    with own_redis.frozen():
        call = asyncio.ensure_future(_outcome(link.command("PING")))
        await CLOCK.sleep(0)  # it waits now, and the writer has not had its turn
        link._lane.end("lost")
        outcome = await ended_within(call, 2 * DEADLINE_S)

    assert outcome is RedisAwayError


async def test_a_refused_connection_is_away_and_nothing_happened(connect: Connect) -> None:
    link = connect("unix:///nowhere/at/all.sock")

    with pytest.raises(RedisAwayError) as caught:
        await link.command("PING")

    assert caught.value.definite
    assert not link.is_up


async def test_a_lost_reply_leaves_the_outcome_open(
    own_redis: RedisServer, connect: Connect
) -> None:
    link = await opened(connect(own_redis.url))

    with own_redis.frozen(), pytest.raises(RedisAwayError) as caught:
        await link.command("PING")

    assert not caught.value.definite


async def test_the_link_is_back_within_a_second_of_healing(
    own_redis: RedisServer, connect: Connect, clock: FakeClock
) -> None:
    watcher = Watcher()
    link = await opened(connect(own_redis.url, observer=watcher, clock=clock))
    watcher.moves.clear()
    with own_redis.frozen():
        await _outcome(link.command("PING"))
        await until(link, is_up=False)

    # Beside it a second has room for one attempt to connect.
    assert await seconds_until(link, clock, is_up=True) <= 1.0 - CONNECT_S
    assert watcher.moves == [False, True]


async def test_a_restarted_redis_is_used_again_though_nobody_asks(
    own_redis: RedisServer, connect: Connect, clock: FakeClock
) -> None:
    link = await opened(connect(own_redis.url, clock=clock))
    own_redis.kill()
    await seconds_until(link, clock, is_up=False)
    own_redis.start()

    assert await seconds_until(link, clock, is_up=True) <= 1.0 - CONNECT_S


async def test_a_long_outage_makes_few_connections(
    own_redis: RedisServer, connect: Connect, clock: FakeClock
) -> None:
    link = await opened(connect(own_redis.url, clock=clock))
    with own_redis.frozen():
        until = clock.monotonic() + 1.0
        while clock.monotonic() < until:
            await asyncio.gather(*(_outcome(link.command("PING")) for _ in range(50)))
            clock.advance(0.01 if clock.sleepers else 0.0)
            await CLOCK.sleep(0.001)
    await seconds_until(link, clock, is_up=True)

    operator = connect(own_redis.url, deadline_s=PATIENCE_S)
    stats = await operator.command("INFO", "stats")
    assert int(stats.partition(b"total_connections_received:")[2].split()[0]) <= 9


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
    own_redis: RedisServer,
    connect: Connect,
    clock: FakeClock,
    key: str,
    trouble: list[str],
    cure: list[str],
) -> None:
    watcher = Watcher()
    link = connect(own_redis.url, observer=watcher, clock=clock, deadline_s=PATIENCE_S)
    operator = connect(own_redis.url, deadline_s=PATIENCE_S)
    await asyncio.gather(opened(link), opened(operator))
    for words in trouble:
        await operator.command(*words.split())

    assert await _outcome(link.script(COUNT, [key], [1])) is RedisAwayError
    while watcher.failures.count(RedisFailure.CONNECT) < 2:
        clock.advance(0.01)
        await CLOCK.sleep(0.001)
    assert watcher.moves == [True, False]
    for words in cure:
        await operator.command(*words.split())

    assert await seconds_until(link, clock, is_up=True) <= 1.0 - CONNECT_S
    assert await link.script(COUNT, [key], [1]) == 1


async def test_nothing_is_sent_twice(own_redis: RedisServer, connect: Connect, key: str) -> None:
    link = connect(own_redis.url)
    operator = await opened(connect(own_redis.url, deadline_s=PATIENCE_S))
    await operator.script(COUNT, [key], [0])
    await opened(link)
    with own_redis.frozen():
        await asyncio.gather(*(_outcome(link.script(COUNT, [key], [1])) for _ in range(5)))
    await until(link, is_up=True)

    assert int(await operator.command("GET", key)) <= 5


def test_a_url_that_no_connection_can_be_made_of_is_told_at_once() -> None:
    with pytest.raises(TypeError, match="foo"):
        RedisLink("redis://localhost/0?foo=1")
