"""Redis as the suite reads it: past the proxy, with a connection of its own.

Reading is the rule; what changes something is named as a fault or as an operator's deed.
Imports no other harness module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

# Loopback answers within a millisecond; a stopped server must not hold up a claim.
ANSWER_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class KeyView:
    """One key: its name, type, remaining life (None: for ever) and content."""

    name: str
    kind: str
    ttl_s: float | None
    content: Any


class RedisView:
    """Reads one Redis database. Raises redis.RedisError when Redis does not answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._redis = redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=ANSWER_WITHIN_S,
            socket_connect_timeout=ANSWER_WITHIN_S,
            # No silent second try: a claim sees what happened the first time.
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    def keys(self, pattern: str = "*") -> list[str]:
        """The names of all keys that fit the pattern, sorted."""
        return sorted(self._redis.scan_iter(match=pattern, count=1000))

    def kind(self, key: str) -> str:
        """hash, string, zset…, or none."""
        return str(self._redis.type(key))

    def ttl(self, key: str) -> float | None:
        """Seconds that the key has left, None for a key without an end.

        Raises: KeyError when there is no such key.
        """
        left_ms = self._redis.pttl(key)
        if left_ms == -2:  # noqa: PLR2004  Redis: no such key
            raise KeyError(key)
        return None if left_ms == -1 else left_ms / 1000

    def hash(self, key: str) -> dict[str, str]:
        """The fields of a hash, {} when there is none."""
        return cast("dict[str, str]", self._redis.hgetall(key))

    def text(self, key: str) -> str | None:
        """The value of a string."""
        return cast("str | None", self._redis.get(key))

    def zset(self, key: str) -> dict[str, float]:
        """Member -> score of a sorted set."""
        pairs = cast("list[tuple[str, float]]", self._redis.zrange(key, 0, -1, withscores=True))
        return dict(pairs)

    def time_s(self) -> float:
        """Redis's own clock, in seconds since 1970: ages inside keys are compared with it."""
        seconds, microseconds = self._redis.time()
        return seconds + microseconds / 1e6

    def memory_bytes(self, key: str) -> int:
        """What a key costs in memory, all of it sampled."""
        return self._redis.memory_usage(key, samples=0) or 0

    def info(self, section: str = "everything") -> dict[str, Any]:
        """INFO of a section."""
        return self._redis.info(section)

    def clients(self) -> int:
        """Connections to Redis now, this view's own left out."""
        return int(self.info("clients")["connected_clients"]) - 1

    def commands(self) -> dict[str, int]:
        """Command -> how often it was called since the server started."""
        stats = self.info("commandstats")
        return {name.removeprefix("cmdstat_"): int(of["calls"]) for name, of in stats.items()}

    def dump(self, pattern: str = "*") -> list[KeyView]:
        """Every key that fits, with its content: for evidence and for scans."""
        return [view for key in self.keys(pattern) if (view := self._view(key)) is not None]

    def _view(self, key: str) -> KeyView | None:
        kind = self.kind(key)
        readers = {"hash": self.hash, "string": self.text, "zset": self.zset}
        reader = readers.get(kind)
        content = cast("Any", reader)(key) if reader else f"({kind})"
        try:
            return KeyView(key, kind, self.ttl(key), content)
        except KeyError:
            return None  # expired while we looked

    # Deeds, as an operator or as a fault

    def operator_sets(self, key: str, fields: dict[str, str], *, ttl_s: float | None) -> None:
        """What the checklist's operator may do by hand: set a hash, with a TTL if any."""
        self._redis.hset(key, mapping=cast("Any", fields))
        if ttl_s is not None:
            self._redis.pexpire(key, int(ttl_s * 1000))

    def operator_deletes(self, *keys: str) -> int:
        """Delete keys by name; how many there were."""
        return self._redis.delete(*keys)

    def flush(self) -> None:
        """A fault: Redis loses its memory. Safe, for each stack has a Redis of its own."""
        self._redis.flushall()

    def disconnect_others(self) -> None:
        """Close every connection but this view's own; they may come again."""
        self.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def forget_scripts(self) -> None:
        """A fault: Redis forgets all scripts, as after a failover."""
        self._redis.script_flush()

    def command(self, *words: str) -> Any:
        """Any command, as in redis-cli."""
        return self._redis.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py

    def close(self) -> None:
        """Close this view's connections."""
        self._redis.close()
