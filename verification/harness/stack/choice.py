"""Which stack runs: the one that was asked for, or with `auto` the first that works here.

Says which, with versions, for the header of the run and for readiness.json.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from verification.harness.processes import keeper
from verification.harness.stack.backend import Backend, Processes
from verification.harness.stack.model import StackError

if TYPE_CHECKING:
    from collections.abc import Callable

AUTO: Final = "auto"
CONTAINERS: Final = "containers"
PROCESSES: Final = "processes"
REMOTE: Final = "remote"
KINDS: Final = (AUTO, CONTAINERS, PROCESSES, REMOTE)
"""What `--stack` takes; remote is what `--target FILE` means."""


def choose(asked: str = AUTO) -> Backend:
    """The backend that was asked for; for `auto` containers, or else processes.

    Raises: StackError with the reason of each that does not work here.
    """
    makers: dict[str, Callable[[], Backend]] = {CONTAINERS: _containers, PROCESSES: Processes}
    if asked != AUTO:
        if asked not in makers:
            raise StackError(f"--stack expects one of {', '.join(KINDS)}, got {asked!r}")
        return makers[asked]()
    reasons = []
    for kind, make in makers.items():
        try:
            return make()
        except StackError as error:
            reasons.append(f"{kind}: {error}")
    raise StackError("no stack works on this machine; " + "; ".join(reasons))


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which stack runs, and what it runs, for the header of the run."""

    kind: str
    versions: dict[str, str]


def settle(asked: str = AUTO) -> Chosen:
    """Choose once for a whole run, in its controller, so that every worker runs the same.

    Raises: StackError.
    """
    backend = choose(asked)
    try:
        return Chosen(backend.kind, dict(backend.versions))
    finally:
        backend.close()


def _containers() -> Backend:
    # Imported here: a machine without Docker pays nothing for it.
    from verification.harness.stack.containers import Containers, prove_passage  # noqa: PLC0415

    backend = Containers()
    folder = Path(tempfile.mkdtemp(prefix="llmhive-vfy-"))
    keeper().remove_at_end(folder)
    prove_passage(backend.start_toxiproxy(folder))
    return backend
