"""A Redis that a finished stack gave back is as good as new, or is not lent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from verification.harness.redis_view import RedisView
from verification.harness.stack.backend import Processes
from verification.harness.stack.redis_pool import RedisPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from verification.harness.stack.servers import RedisServer


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[Callable[[str], RedisServer]]:
    """Takes from a pool of this test's own; what was taken before has been given back."""
    pool = RedisPool(Processes(), tmp_path)
    lent: list[RedisServer] = []

    def take(password: str) -> RedisServer:
        for server in lent:
            pool.give_back(server)
        lent[:] = [pool.take(password)]
        return lent[0]

    yield take
    lent[0].stop()


def test_it_is_empty_behind_another_password_and_nobody_is_connected(
    taken: Callable[[str], RedisServer],
) -> None:
    port, left = (first := taken("first")).port, RedisView(first.url)
    left.command("SET", "key", "of before")
    script = left.command("SCRIPT", "LOAD", "return 1")

    again = RedisView(taken("second").url)

    assert first.port == port
    assert (again.keys(), again.command("SCRIPT", "EXISTS", script)) == ([], [False])
    assert again.clients() == 0
    with pytest.raises(redis.RedisError):
        left.time_s()
    left.close()
    again.close()


def test_one_that_is_gone_is_not_lent_again(taken: Callable[[str], RedisServer]) -> None:
    (first := taken("first")).stop()

    second = taken("second")

    view = RedisView(second.url)
    assert second is not first
    assert view.keys() == []
    view.close()


def test_one_that_cannot_be_emptied_is_not_lent_again(
    taken: Callable[[str], RedisServer],
) -> None:
    view = RedisView((first := taken("first")).url)
    view.command("REPLICAOF", "127.0.0.1", "1")
    view.close()

    assert taken("second") is not first
