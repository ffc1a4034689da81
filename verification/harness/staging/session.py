"""The one door to a target elsewhere: `verify`, `chaos` and `load` all come through here.

    with remote_run(file, kind="load", estimate=estimate) as run:
        http = run.http()                     # gated: pin, hosts, budget, stop file, lease
        user = run.users().make(run.name("caller"), tier="pro", customer=None)
        ...
        if run.ended: ...                     # why the run had to end; then it is unknown

Before anything goes out: the file is in order, has a budget that holds the estimate, and no
stop file stands beside it. Then one GET (the pin) and the lease. What differs, is held or is
lacking is a RefusedError in one line: exit code 3. In the end the users that were made are
removed and the lease is given back, whatever happened.

Another process of the same run (a worker of xdist or Locust) joins it by the folder of its
state: `joined(run.state)`; clients of its own call `gate(method, url)` before each request
and `gate.used(tokens)` or `gate.heard(answer)` after a chat. Source: DESIGN section 4.
"""

from __future__ import annotations

import getpass
import itertools
import json
import os
import secrets
import shutil
import socket
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from verification.harness import target_file
from verification.harness.http_client import Http
from verification.harness.stack.model import UserSource
from verification.harness.staging import cleanup
from verification.harness.staging.budget import Spent
from verification.harness.staging.cleanup import TAG
from verification.harness.staging.gate import Gate
from verification.harness.staging.leases import TTL_S, FileLease, Lease, LeaseKeeper, ServiceLease
from verification.harness.staging.purse import Purse
from verification.harness.staging.refusal import RefusedError
from verification.harness.staging.sighting import Seen, Sighting, look
from verification.harness.staging.users import LentUsers, MadeUsers
from verification.harness.target_file import TargetFile

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_FILE: Final = "run.json"
# Two renewals may be lost before the lease is.
RENEW_EVERY_S: Final = TTL_S / 3
PURSE_FILE: Final = "purse.json"


@dataclass(slots=True, kw_only=True)
class RemoteRun:
    """A run against a target elsewhere, in one of its processes."""

    file: Path
    target: TargetFile
    kind: str
    run_id: str
    sighting: Sighting
    state: Path
    purse: Purse
    gate: Gate
    farewell: list[str] = field(default_factory=list)
    """What was removed when the run ended, and what could not be; filled as the context ends."""
    _names: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    @property
    def tag(self) -> str:
        """What everything that this run makes is tagged with."""
        return TAG + self.run_id

    @property
    def ended(self) -> str:
        """Why the run has to end; empty while it may go on."""
        return self.purse.ended

    @property
    def spent(self) -> Spent:
        """What all processes of the run have used so far."""
        return self.purse.spent

    def told(self) -> str:
        """What was used beside what may be, in one line."""
        return self.target.budget.told(self.spent)

    def name(self, what: str) -> str:
        """A fresh id of this run and process."""
        return f"{self.tag}-{os.getpid()}-{what}-{next(self._names)}"

    def http(self) -> Http:
        """HTTP to the target, through the gate."""
        return Http(self.target.base_url, gate=self.gate, on_answer=self.gate.heard, trust_env=True)

    def users(self, worker: int = 0, workers: int = 1) -> UserSource:
        """Users for this process, number `worker` of `workers`: made if there is an admin key."""
        if admin_key := self.target.secrets.get("admin_key"):
            return MadeUsers(self.http(), admin_key, self.tag)
        return LentUsers(self.target.users, worker, workers)


def state_of(file: Path) -> Path:
    """The folder beside a target file in which its run keeps what its processes share."""
    return file.with_name(file.name + ".state")


def stop_file_of(file: Path) -> Path:
    """The file beside a target file that ends its run, and lets none begin."""
    return file.with_name(file.name + ".stop")


def lock_file_of(file: Path) -> Path:
    """The lease of a target without an admin key."""
    return file.with_name(file.name + ".lock")


@contextmanager
def remote_run(
    file: Path, *, kind: str, estimate: Spent | None = None, portion: int = 1
) -> Iterator[RemoteRun]:
    """Run against the target of a file; see the module for what that promises.

    Takes: `kind` verify, chaos or load; `estimate`, what the run will surely need; `portion`,
    how many requests are drawn from the budget at once (a load generator: 50).
    Raises: TargetFileError or RefusedError, before the run's first request.
    """
    file = file.resolve()
    target = target_file.read(file)
    _refuse_beforehand(file, target, estimate)
    sighting = look(target)
    if sighting.seen is Seen.OTHER_INSTANCE:
        raise RefusedError(f"{target.base_url}: {sighting.says}")
    run_id, state = secrets.token_hex(4), state_of(file)
    with ExitStack() as ending:
        if sighting.seen is Seen.OURS:
            lease = take_lease(file, target, TAG + run_id)
            ending.callback(lease.release)
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir(mode=0o700)
        ending.callback(shutil.rmtree, state, ignore_errors=True)
        Purse.begin(state / PURSE_FILE)
        facts = {"file": str(file), "kind": kind, "run_id": run_id, "sighting": asdict(sighting)}
        (state / RUN_FILE).write_text(json.dumps(facts), "utf-8")
        run = joined(state, portion=portion)
        ending.callback(run.purse.close)
        if sighting.seen is Seen.OURS:
            ending.enter_context(LeaseKeeper(lease, run.purse, every_s=RENEW_EVERY_S))
            ending.callback(_clean_up, run, lease.took_over)
        ending.callback(run.gate.close)
        yield run


def _refuse_beforehand(file: Path, target: TargetFile, estimate: Spent | None) -> None:
    """Refuse what can be seen to be refused without a request.

    Raises: RefusedError.
    """
    stop_file = stop_file_of(file)
    if stop_file.exists():
        raise RefusedError(f"the stop file {stop_file.name} is there; remove it to run")
    if estimate and (reason := target.budget.exceeded_by(estimate)):
        told = target.budget.told(estimate)
        raise RefusedError(f"{reason} does not hold what this run needs: {told}")


def take_lease(file: Path, target: TargetFile, run: str) -> Lease:
    """Take the lease on a target: the service's own, or a file's without an admin key.

    Raises: LeaseHeldError naming who has it; StackError.
    """
    holder = f"{getpass.getuser()}@{socket.gethostname()}"
    if admin_key := target.secrets.get("admin_key"):
        http = Http(target.base_url, trust_env=True)
        return ServiceLease.take(http, admin_key, holder=holder, run=run)
    try:
        return FileLease.take(lock_file_of(file), holder=holder, run=run)
    except OSError as error:
        raise RefusedError(f"{lock_file_of(file)} cannot be written: {error}") from error


def _clean_up(run: RemoteRun, took_over: str) -> None:
    """Remove what this run made, and a killed run whose lease it took over."""
    tags = [tag for tag in (run.tag, took_over) if tag.startswith(TAG)]
    run.farewell.extend(cleanup.remove(run.target, tags).lines())


def joined(state: Path, *, portion: int = 1) -> RemoteRun:
    """The run whose state that folder keeps, in this process.

    Raises: TargetFileError, when the file is not what it was any more.
    """
    facts = json.loads((state / RUN_FILE).read_text("utf-8"))
    file = Path(facts["file"])
    target = target_file.read(file)
    seen = facts["sighting"]
    sighting = Sighting(Seen(seen["seen"]), seen["says"], seen["version"])
    purse = Purse(state / PURSE_FILE, target.budget)
    gate = Gate(
        purse,
        hosts=target.hosts,
        stop_file=stop_file_of(file),
        tokens_per_chat=target.budget.prices.tokens_per_chat,
        foreign=sighting.foreign,
        portion=portion,
    )
    return RemoteRun(
        file=file,
        target=target,
        kind=facts["kind"],
        run_id=facts["run_id"],
        sighting=sighting,
        state=state,
        purse=purse,
        gate=gate,
    )
