"""A stand-in for the service, so that the stack is tested whatever the service does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from verification.harness import capabilities as can
from verification.harness.redis_view import RedisView
from verification.harness.service_logs import ServiceLogs
from verification.harness.stack import programs, servers
from verification.harness.stack.model import Stack
from verification.harness.stack.service import Service
from verification.harness.toxiproxy_link import Link

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verification.harness.toxiproxy_link import Toxiproxy

STAND_IN = Path(__file__).parent / "stand_in"
INSTANCE = "vfy-nonce"


@pytest.fixture(scope="session")
def toxiproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toxiproxy]:
    """A Toxiproxy."""
    folder = tmp_path_factory.mktemp("toxiproxy")
    server, child = servers.start_toxiproxy(programs.toxiproxy_server(), folder)
    yield server
    child.kill()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Path:
    """`python -P -m llmhive` is the stand-in."""
    monkeypatch.setenv("LLMHIVE_SERVICE_PYTHON", sys.executable)
    monkeypatch.setenv("LLMHIVE_OVERLAY", str(STAND_IN))
    return STAND_IN


@pytest.fixture
def stack() -> Stack:
    """A stack of nothing yet."""
    return Stack(
        kind="processes",
        run_id="run",
        base_url="",
        instance=INSTANCE,
        environment="development",
        capabilities=can.LOCAL,
        worker_count=2,
        logs=ServiceLogs(),
        redis=RedisView("redis://127.0.0.1:1/0"),
    )


@pytest.fixture
def service(
    stand_in: Path, stack: Stack, toxiproxy: Toxiproxy, tmp_path: Path
) -> Iterator[Service]:
    """The stand-in with two workers, not started yet."""
    assert stand_in.is_dir()
    link = Link("service", toxiproxy, upstream="127.0.0.1:1", probe=b"")
    link.open(tmp_path.name)
    settings = {
        "LLMHIVE_INSTANCE": INSTANCE,
        "LLMHIVE_ENVIRONMENT": "development",
        "DRAIN_SECONDS": "0",
        "SHUTDOWN_GRACE_S": "0",
    }
    made = Service(stack, tmp_path, settings, link)
    stack.control = stack.shell = stack.users = made
    stack.proxied_url = f"http://127.0.0.1:{link.port}"
    stack.database_file = made.data / "llmhive.db"
    yield made
    if made.is_running:
        made.child.kill()
    link.close()
