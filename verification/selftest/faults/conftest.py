"""A real Redis behind a real Toxiproxy, once per worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from verification.harness.faults import Faults
from verification.harness.stack import programs, servers
from verification.harness.toxiproxy_link import Link, Toxiproxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verification.harness.stack.servers import RedisServer


@dataclass(frozen=True, slots=True)
class Bench:
    """What the faults are tried on."""

    toxiproxy: Toxiproxy
    redis: RedisServer
    link: Link
    faults: Faults


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Redis, and a link to it through Toxiproxy."""
    folder = tmp_path_factory.mktemp("bench")
    redis = servers.start_redis(programs.redis_server(), folder, "secret")
    toxiproxy, child = servers.start_toxiproxy(programs.toxiproxy_server(), folder)
    link = Link("redis", toxiproxy, upstream=f"127.0.0.1:{redis.port}", probe=b"PING\r\n")
    link.open("bench-redis")
    yield Bench(toxiproxy, redis, link, Faults({"redis": link}))
    child.kill()
    redis.stop()


@pytest.fixture
def faults(bench: Bench) -> Iterator[Faults]:
    """Faults on the link; each test leaves the link well."""
    yield bench.faults
    assert bench.faults.left_over() == []
