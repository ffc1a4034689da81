"""An operator's number in Redis: decisions read it, the database's word replaces it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from llmhive.app.adapters.redis_keys import override_key
from llmhive.app.adapters.redis_link import RedisLink
from llmhive.app.adapters.redis_overrides import AT_ONCE, RedisOverrides, RedisUserKeys
from llmhive.app.adapters.redis_windows import RedisWindowStore
from llmhive.app.adapters.sql_database import Database
from llmhive.app.adapters.sql_orders import SqlOverrides
from llmhive.app.clock import SystemClock
from llmhive.app.limits.model import Admission, LimitConfig, Tier
from llmhive.app.limits.overrides import LimitOverrides, Override
from llmhive.app.limits.service import LimitService
from llmhive.tests.adapters.redis_links import PATIENCE_S
from llmhive.tests.redis_server import RedisServer

CLOCK = SystemClock()
CONFIG = LimitConfig({"free": Tier(requests=2, tokens=10_000, in_flight=50)}, window_s=30.0)


class Scene:
    """One worker's limiter over Redis, and a user whose number is edited."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self.user = f"a:{uuid.uuid4().hex}"
        self.mirror = RedisOverrides(link)
        store = RedisWindowStore(link, CLOCK, CONFIG, prefix="test:")
        self.limiter = LimitService(CONFIG, clock=CLOCK, store=store)

    def override(self, requests_per_min: int, revision: str = "r1") -> Override:
        return Override(self.user, requests_per_min, CLOCK.wall() + 60, revision)

    async def edit(self, *words: str) -> None:
        """What an operator types into redis-cli."""
        await self.link.command(words[0], override_key(self.user), *words[1:])

    async def shown(self) -> bytes | None:
        found: bytes | None = await self.link.command(
            "HGET", override_key(self.user), "requests_per_min"
        )
        return found

    async def admitted(self, times: int) -> list[Admission]:
        asked = [await self.limiter.admit(self.user, "free", tokens=1) for _ in range(times)]
        for admission in asked:
            await self.limiter.settle(admission, tokens_used=None)
        return [each for each in asked if each.allowed]


@pytest.fixture
async def scene(redis_server: RedisServer) -> AsyncIterator[Scene]:
    link = RedisLink(redis_server.url, deadline_s=PATIENCE_S)
    await link.open()
    made = Scene(link)
    yield made
    await made.limiter.flush()
    await link.close()


async def test_a_number_by_hand_holds_from_the_next_request_on(scene: Scene) -> None:
    assert len(await scene.admitted(4)) == 2
    await scene.edit("HSET", "requests_per_min", "10")

    admitted = await scene.admitted(9)

    # 10 a minute are 5 in a window of 30 s, of which 2 are used.
    assert len(admitted) == 3
    assert admitted[-1].headers()[1][1].startswith(b'"requests";q=5;w=30')
    await scene.edit("DEL")
    assert await scene.admitted(1) == []


async def test_zero_by_hand_admits_nobody(scene: Scene) -> None:
    await scene.edit("HSET", "requests_per_min", "0")

    assert await scene.admitted(1) == []


@pytest.mark.parametrize(
    "edit",
    [
        ("HSET", "requests_per_min", "nan"),
        ("HSET", "requests_per_min", "-5"),
        ("HSET", "requests_per_min", "1e9"),
        ("HSET", "requests_per_min", "9999999999"),
        ("HSET", "requests_per_hour", "100"),
        ("SET", "100"),
        ("SADD", "100"),
    ],
    ids=" ".join,
)
async def test_what_is_no_number_leaves_the_tier_in_force(
    scene: Scene, edit: tuple[str, ...]
) -> None:
    await scene.edit(*edit)

    admitted = await scene.admitted(4)

    assert (len(admitted), admitted[0].degraded) == (2, False)


async def test_a_copy_ends_with_its_override(scene: Scene) -> None:
    await scene.mirror.show(scene.override(600), lasts_s=60.0, replaces=True)

    ttl_ms = await scene.link.command("PTTL", override_key(scene.user))
    assert 59_000 < int(ttl_ms) <= 60_000
    assert len(await scene.admitted(4)) == 4


async def test_a_number_by_hand_outlives_repairs_and_not_the_operators_next_word(
    scene: Scene,
) -> None:
    await scene.edit("HSET", "requests_per_min", "7")

    await scene.mirror.show(scene.override(600), lasts_s=60.0, replaces=False)
    kept = await scene.shown()
    await scene.mirror.show(scene.override(600), lasts_s=60.0, replaces=True)

    assert (kept, await scene.shown()) == (b"7", b"600")


async def test_a_copy_that_was_edited_is_of_the_same_word_and_stays(scene: Scene) -> None:
    await scene.mirror.show(scene.override(600), lasts_s=60.0, replaces=True)
    await scene.edit("HSET", "requests_per_min", "7")

    await scene.mirror.show(scene.override(600), lasts_s=60.0, replaces=True)

    assert await scene.shown() == b"7"


async def test_only_the_copy_of_what_was_taken_back_is_hidden(scene: Scene) -> None:
    await scene.mirror.show(scene.override(600, "r2"), lasts_s=60.0, replaces=True)

    await scene.mirror.hide(scene.user, "r1")
    kept = await scene.shown()
    await scene.mirror.hide(scene.user, "r2")

    assert (kept, await scene.shown()) == (b"600", None)


async def test_the_copies_of_words_are_told_by_their_revision_and_those_by_hand_are_not(
    scene: Scene,
) -> None:
    others = [Scene(scene.link) for _ in range(3)]
    await scene.mirror.show(scene.override(600), lasts_s=60.0, replaces=True)
    await scene.edit("HSET", "requests_per_min", "7")
    await others[0].edit("HSET", "requests_per_min", "7")
    await others[1].edit("SET", "7")
    await scene.link.command("SET", b"llmhive:override:\xff", "7")
    await others[2].mirror.show(others[2].override(5, "r2"), lasts_s=60.0, replaces=True)

    copies = await scene.mirror.copies()

    users = (scene.user, *(each.user for each in others))
    assert [copies.get(user) for user in users] == ["r1", None, None, "r2"]


async def test_every_copy_is_found_among_many_keys(scene: Scene) -> None:
    many = [f"test:many:{n}" for n in range(2 * AT_ONCE)]
    await scene.link.command("MSET", *(word for key in many for word in (key, "1")))
    others = [Scene(scene.link) for _ in range(20)]
    for each in others:
        await each.mirror.show(each.override(5, each.user), lasts_s=60.0, replaces=True)

    copies = await scene.mirror.copies()

    await scene.link.command("DEL", *many)
    assert copies.items() >= {each.user: each.user for each in others}.items()


@pytest.mark.parametrize(
    "edit", [(), ("HSET", "requests_per_min", "7")], ids=["as-shown", "edited"]
)
async def test_a_worker_that_starts_hides_the_copy_of_what_was_taken_back(
    scene: Scene, database: Database, edit: tuple[str, ...]
) -> None:
    await scene.mirror.show(scene.override(600), lasts_s=60.0, replaces=True)
    if edit:
        await scene.edit(*edit)
    worker = LimitOverrides(SqlOverrides(database), clock=CLOCK, window_s=30.0, mirror=scene.mirror)

    await worker.follow()

    assert await scene.shown() is None


async def test_forgetting_a_user_leaves_no_key_of_theirs_and_every_other(scene: Scene) -> None:
    other = Scene(scene.link)
    for each in (scene, other):
        await each.edit("HSET", "requests_per_min", "600")
        await each.limiter.admit(each.user, "free", tokens=1)
    keys = RedisUserKeys(scene.link, prefix="test:", window_s=30.0)

    forgotten = await keys.forget([scene.user])

    left = [key.decode() for key in await scene.link.command("KEYS", "*a%3A*")]
    assert forgotten == 3
    assert not [key for key in left if scene.user[2:] in key]
    assert len([key for key in left if other.user[2:] in key]) == 3
