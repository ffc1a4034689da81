"""A link to a real Redis whose scripts read the time from a test's clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llmhive.app.adapters.redis_lane import Word
from llmhive.app.adapters.redis_link import LuaScript, RedisLink
from llmhive.app.clock import Clock
from llmhive.tests.adapters.redis_links import PATIENCE_S

CALL = "redis.call('TIME')"


class HandTimedLink(RedisLink):
    """Puts the clock's hour into a script in place of its call of TIME, and changes nothing else.

    Keys still end by the real clock: the hour must not be behind it.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(url, deadline_s=PATIENCE_S)
        self.hour = clock

    async def script(
        self,
        script: LuaScript,
        keys: Sequence[str],
        args: Sequence[Word],
        *,
        orphaned: Callable[[Any], None] | None = None,
    ) -> Any:
        """Run the script at the clock's hour."""
        assert script.text.count(CALL) == 1
        seconds, ms = divmod(int(self.hour.wall() * 1000), 1000)
        dated = LuaScript(script.text.replace(CALL, f"{{{seconds}, {ms * 1000}}}"))
        return await super().script(dated, keys, args, orphaned=orphaned)
