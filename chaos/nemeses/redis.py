"""Redis slow, hung, refused or emptied, on its own link."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from chaos.experiment import Nemesis
from verification.checkers.faults_seen import REDIS_AWAY, REDIS_EMPTIED
from verification.contract.redis_keys import window_pattern
from verification.harness import capabilities as can
from verification.harness.faults import FaultDidNotBiteError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.apparatus import Apparatus

LINK: Final = "redis"
TOUCHES: Final = "the link between the service and its Redis, by Toxiproxy"


def slow_redis(ms: int) -> Nemesis:
    """Every answer of Redis comes `ms` later."""
    return Nemesis(
        name="slow_redis",
        does=f"Redis answers {ms} ms late",
        touches=TOUCHES,
        undone_by="the latency toxic is removed from Redis's proxy",
        needs=(can.FAULTS,),
        hold=lambda apparatus: apparatus.target.faults.slow(LINK, ms),
        accounts=(REDIS_AWAY,),
    )


def hang_redis() -> Nemesis:
    """Redis accepts connections and never answers."""
    return Nemesis(
        name="hang_redis",
        does="Redis accepts connections and says nothing",
        touches=TOUCHES,
        undone_by="both timeout toxics are removed from Redis's proxy",
        needs=(can.FAULTS,),
        hold=lambda apparatus: apparatus.target.faults.hang(LINK),
        accounts=(REDIS_AWAY,),
    )


def refuse_redis() -> Nemesis:
    """Redis refuses connections, and those that there were are closed."""
    return Nemesis(
        name="refuse_redis",
        does="Redis refuses connections and closes those that it has",
        touches=TOUCHES,
        undone_by="Redis's proxy is enabled again",
        needs=(can.FAULTS,),
        hold=lambda apparatus: apparatus.target.faults.refuse(LINK),
        accounts=(REDIS_AWAY,),
    )


def empty_redis() -> Nemesis:
    """Redis forgets every key."""
    return Nemesis(
        name="empty_redis",
        does="Redis forgets every key",
        touches="every key of the Redis that the run started for itself",
        undone_by="nothing: counters grow anew, and the next experiment gets an empty Redis",
        needs=(can.REDIS_READ, can.REDIS_WRITE),
        hold=_emptied,
        accounts=(REDIS_EMPTIED,),
    )


@contextmanager
def _emptied(apparatus: Apparatus) -> Iterator[str]:
    redis, sentinel = apparatus.target.redis, apparatus.target.name("sentinel")
    windows = redis.keys(window_pattern())
    if not windows:
        raise FaultDidNotBiteError("Redis held no window before it was emptied")
    with apparatus.written_down("Redis is emptied", "what it held cannot be brought back"):
        redis.command("SET", sentinel, "1")
        redis.flush()
        if redis.command("EXISTS", sentinel):
            raise FaultDidNotBiteError("Redis still holds a key that it had before")
        yield f"{len(windows)} windows gone"
