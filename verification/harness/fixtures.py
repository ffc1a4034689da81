"""The fixtures of every claim: `target` and `history`. Loaded by the suite's plugin.

The stacks belong to the xdist worker; a claim gets the one of its configuration, as good as
new, and leaves it healed. What a claim left ill is said, and is its own failure to heal.
"""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

import pytest

from verification.harness.faults import FaultNotHealedError
from verification.harness.run_options import RUN
from verification.harness.stack import choice
from verification.harness.stack.cache import StackCache
from verification.harness.stack.configuration import Configuration, configuration
from verification.harness.stack.local import LocalStacks
from verification.harness.stack.remote import RemoteStacks
from verification.harness.staging import session
from verification.harness.target import Target
from verification.history import History

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from verification.harness.stack.model import Stack

# The target of a claim, for the plugin that keeps its evidence.
TARGET: Final = pytest.StashKey[Target]()


class Lent(Protocol):
    """A stack while a claim has it."""

    stack: Stack

    def end_claim(self) -> list[str]:
        """Heal what was left, and name it."""


class Lender(Protocol):
    """Where claims get their stacks from."""

    @property
    def capabilities(self) -> frozenset[str]:
        """What the stacks can do."""

    def unmet(self, wanted: Configuration) -> list[str]:
        """Why no stack can have that configuration; nothing when one can."""

    def lend(self, wanted: Configuration) -> Lent:
        """The stack of that configuration."""

    def close(self) -> None:
        """End what was started."""


def asked_for(item: pytest.Item) -> Configuration:
    """The configuration that the claim of a test asks for."""
    marker = item.get_closest_marker("claim")
    asked = marker.kwargs if marker else {}
    env = cast("Mapping[str, str | None] | None", asked.get("env"))
    return configuration(env, int(asked.get("workers", 1)))


def lender(config: pytest.Config) -> Lender:
    """Stacks by the run's `--stack` and `--target`, on this xdist worker.

    Raises: StackError or TargetFileError, with what to do.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    run_id = os.environ.get("PYTEST_XDIST_TESTRUNUID", secrets.token_hex(4))[:8]
    file = config.getoption("--target", default=None)
    if file:
        return _elsewhere(config, Path(str(file)).resolve(), worker)
    backend = choice.choose(str(config.getoption("--stack", default=choice.AUTO)))
    shared = config.stash[RUN].shared if RUN in config.stash else None
    return StackCache(LocalStacks(backend, run_id=run_id, worker=worker, shared=shared))


def _elsewhere(config: pytest.Config, file: Path, worker: str) -> RemoteStacks:
    """The target of a file, in the run that the controller began, or in one of its own."""
    asked = config.stash.get(RUN, None)
    if asked is None or not asked.is_verification:
        ending = ExitStack()
        run = ending.enter_context(session.remote_run(file, kind="verify"))
        return RemoteStacks(run, ending=ending)
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(worker.removeprefix("gw")) if worker != "main" else 0
    return RemoteStacks(session.joined(session.state_of(file)), worker=number, workers=count)


@pytest.fixture(scope="session")
def stacks(pytestconfig: pytest.Config) -> Iterator[Lender]:
    """The stacks of this worker."""
    lending = lender(pytestconfig)
    yield lending
    lending.close()


@pytest.fixture
def target(request: pytest.FixtureRequest, stacks: Lender) -> Iterator[Target]:
    """The service under judgement, in the configuration that the claim asks for."""
    item = cast("pytest.Item", request.node)
    wanted, marker = asked_for(item), item.get_closest_marker("claim")
    asked = marker.kwargs if marker else {}
    missing = sorted(set(asked.get("needs", ())) - stacks.capabilities)
    if unmet := [*missing, *stacks.unmet(wanted)]:
        pytest.skip(f"unverified: this target lacks {', '.join(unmet)}")
    lent = stacks.lend(wanted)
    made = Target(lent.stack, claim_id=str(asked.get("id", item.name)))
    item.stash[TARGET] = made
    yield made
    if left := lent.end_claim():
        raise FaultNotHealedError(f"the claim left faults on: {', '.join(left)}")


@pytest.fixture
def history() -> History:
    """What the claim did and saw, judged by checkers."""
    return History()
