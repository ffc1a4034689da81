"""What stands of users in Redis beside their windows: copies of overrides; and forgetting users.

Stores: `llmhive:override:{user_id}`, HASH of `requests_per_min` and the `revision` it shows,
TTL as the operator asked. A copy made by hand has no revision.
Source: DESIGN.md, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmhive.app.adapters.redis_keys import (
    OVERRIDE_PREFIX,
    in_flight_key,
    overridden_user,
    override_key,
    window_key,
)
from llmhive.app.adapters.redis_link import LuaScript, RedisLink
from llmhive.app.limits.overrides import Override

# Keys walked over or deleted with one command: Redis does so many in under a millisecond.
AT_ONCE = 500

# KEYS the copy; ARGV revision, requests per minute, time to live in ms, 1 to replace.
SHOW = LuaScript(
    """
if redis.pcall('HGET', KEYS[1], 'revision') == ARGV[1] then return 0 end
if ARGV[4] == '0' and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'requests_per_min', ARGV[2], 'revision', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
)

# KEYS the copy; gives its revision, or nothing.
SHOWN = LuaScript(
    """
local revision = redis.pcall('HGET', KEYS[1], 'revision')
return type(revision) == 'string' and revision
"""
)

# KEYS the copy; ARGV revision.
HIDE = LuaScript(
    """
if redis.pcall('HGET', KEYS[1], 'revision') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
"""
)


class RedisOverrides:
    """An OverrideMirror that every worker's decisions read."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def show(self, override: Override, *, lasts_s: float, replaces: bool) -> None:
        """Show it for that long; what is shown already stays unless `replaces`."""
        lasts_ms = max(1, round(lasts_s * 1000))
        told = (override.revision, override.requests_per_min, lasts_ms, int(replaces))
        await self._link.script(SHOW, [override_key(override.user)], told)

    async def hide(self, user: str, revision: str) -> None:
        """Take the user's copy away if it shows exactly this one."""
        await self._link.script(HIDE, [override_key(user)], [revision])

    async def copies(self) -> dict[str, str]:
        """The revision that each user's copy shows; copies made by hand show none.

        Walks over all keys of Redis, a few at a time: for the start of a worker.
        """
        found: dict[str, str] = {}
        cursor = b"0"
        while True:
            cursor, keys = await self._link.command(
                "SCAN", cursor, "MATCH", f"{OVERRIDE_PREFIX}*", "COUNT", AT_ONCE
            )
            for key in (each.decode(errors="replace") for each in keys):
                if revision := await self._link.script(SHOWN, [key], []):
                    found[overridden_user(key)] = revision.decode(errors="replace")
            if cursor == b"0":
                return found


class RedisUserKeys:
    """Everything in Redis that is a user's; `forget` removes it."""

    def __init__(self, link: RedisLink, *, prefix: str, window_s: float) -> None:
        self._link = link
        self._prefix = prefix
        self._window_ms = max(1, round(window_s * 1000))

    async def forget(self, users: Sequence[str]) -> int:
        """Delete the users' keys and give how many there were.

        A window's key lives for two windows, so there are two of them at most, or three
        around the moment at which one begins.
        Raises: DependencyError, CapacityError.
        """
        seconds, micros = await self._link.command("TIME")
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        start = now_ms - now_ms % self._window_ms
        keys = [key for user in users for key in self._keys(user, start)]
        parts = [keys[first : first + AT_ONCE] for first in range(0, len(keys), AT_ONCE)]
        return sum([int(await self._link.command("DEL", *part)) for part in parts])

    def _keys(self, user: str, start: int) -> list[str]:
        starts = (start - self._window_ms, start, start + self._window_ms)
        windows = [window_key(self._prefix, user, each) for each in starts]
        return [*windows, in_flight_key(self._prefix, user), override_key(user)]
