"""Where experiments get their stacks: this machine, or what a target file names.

Elsewhere a Toxiproxy of our own stands before the service, for whoever goes by it: so answers can
be lost on their way although nothing there is touched.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from verification.harness import capabilities as can
from verification.harness.faults import Faults
from verification.harness.processes import keeper
from verification.harness.stack import choice, programs, servers
from verification.harness.stack.cache import StackCache
from verification.harness.stack.configuration import Configuration, configuration
from verification.harness.stack.local import PROBES, LocalStacks
from verification.harness.stack.remote import RemoteStacks, unmet
from verification.harness.staging.gate import ForeignTargetError
from verification.harness.staging.session import RemoteRun, remote_run
from verification.harness.staging.sighting import Seen
from verification.harness.target_file import TargetFile, read
from verification.harness.toxiproxy_link import Link

if TYPE_CHECKING:
    from chaos.experiment import Experiment
    from verification.harness.fixtures import Lender
    from verification.harness.staging.budget import Spent

HTTP_PORT = 80


def local(stack: str, run_id: str) -> Lender:
    """Stacks of this machine, one at a time. Raises StackError."""
    return StackCache(LocalStacks(choice.choose(stack), run_id=run_id, worker="chaos"))


def elsewhere(file: Path, experiments: Mapping[str, Experiment]) -> Lender:
    """The target of a file, in a run of its own that holds the lease and keeps the budget.

    Raises: TargetFileError or RefusedError, before the first request.
    """
    needed = estimate(read(file), experiments)
    ending = ExitStack()
    run = ending.enter_context(remote_run(file, kind="chaos", estimate=needed))
    return Elsewhere(run, ending)


class Elsewhere(RemoteStacks):
    """The one stack of a target elsewhere, with a proxy of our own before it."""

    def __init__(self, run: RemoteRun, ending: ExitStack) -> None:
        super().__init__(run, ending=ending)
        self._sighting = run.sighting
        if proxied(run.target.base_url) and run.sighting.seen is Seen.OURS:
            self._put_a_proxy_before_it()

    def lend(self, wanted: Configuration) -> RemoteStacks:
        """The stack. Raises ForeignTargetError when something else answers, SilentTargetError."""
        if self._sighting.seen is Seen.FOREIGN:
            raise ForeignTargetError(self._sighting.says)
        return super().lend(wanted)

    def end_claim(self) -> list[str]:
        """Heal our own proxy, and name it if it was left ill."""
        if can.PROXY not in self.stack.capabilities:
            return []
        left: list[str] = self.stack.faults.left_over()
        self.stack.faults.heal_all()
        return left

    def _put_a_proxy_before_it(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="llmhive-vfy-"))
        keeper().remove_at_end(folder)
        server, _ = servers.start_toxiproxy(programs.toxiproxy_server(), folder)
        upstream = urlsplit(self.stack.base_url)
        address = f"{upstream.hostname}:{upstream.port or HTTP_PORT}"
        link = Link("service", server, upstream=address, probe=PROBES["service"])
        link.open(f"service-{secrets.token_hex(4)}")
        self.stack.proxied_url = f"http://{link.host}:{link.port}"
        self.stack.faults = Faults({"service": link})
        self.stack.capabilities |= {can.PROXY}


def proxied(base_url: str) -> bool:
    """Whether a proxy that only passes bytes can stand before it: not before a certificate."""
    return urlsplit(base_url).scheme == "http"


def lacks(target: TargetFile, one: Experiment) -> list[str]:
    """What the target of a file lacks for an experiment."""
    own = {can.PROXY} if proxied(target.base_url) else set()
    missing = sorted(set(one.needs) - target.capabilities - own)
    return [*missing, *unmet(configuration(one.env, one.workers), target.workers)]


def estimate(target: TargetFile, experiments: Mapping[str, Experiment]) -> Spent:
    """The most that the experiments can use which this target can be given."""
    possible = [one.limits for one in experiments.values() if not lacks(target, one)]
    return target.budget.estimate(
        requests=sum(limits.operations for limits in possible),
        chats=sum(limits.chats for limits in possible),
    )
