"""Where experiments get their stacks: this machine, or what a target file names."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from verification.harness.stack import choice
from verification.harness.stack.cache import StackCache
from verification.harness.stack.configuration import configuration
from verification.harness.stack.local import LocalStacks
from verification.harness.stack.remote import RemoteStacks, unmet
from verification.harness.staging.session import remote_run
from verification.harness.target_file import TargetFile, read

if TYPE_CHECKING:
    from chaos.experiment import Experiment
    from verification.harness.fixtures import Lender
    from verification.harness.staging.budget import Spent


def local(stack: str, run_id: str) -> Lender:
    """Stacks of this machine, shared by configuration. Raises StackError."""
    return StackCache(LocalStacks(choice.choose(stack), run_id=run_id, worker="chaos"))


def elsewhere(file: Path, experiments: Mapping[str, Experiment]) -> Lender:
    """The target of a file, in a run of its own that holds the lease and keeps the budget.

    Raises: TargetFileError or RefusedError, before the first request.
    """
    needed = estimate(read(file), experiments)
    ending = ExitStack()
    run = ending.enter_context(remote_run(file, kind="chaos", estimate=needed))
    return RemoteStacks(run, ending=ending)


def estimate(target: TargetFile, experiments: Mapping[str, Experiment]) -> Spent:
    """The most that the experiments can use which this target can be given."""
    possible = [
        one
        for one in experiments.values()
        if set(one.needs) <= target.capabilities
        and not unmet(configuration(one.env, one.workers), target.workers)
    ]
    operations = sum(one.limits.operations for one in possible)
    return target.budget.estimate(requests=operations, chats=operations)
