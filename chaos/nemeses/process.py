"""The service's processes killed or told to stop."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from chaos.experiment import Nemesis
from verification.checkers.stopping import EXIT
from verification.harness import capabilities as can
from verification.harness import lifetime
from verification.harness.faults import FaultDidNotBiteError
from verification.harness.waiting import came_true, now_s

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.apparatus import Apparatus

DEAD_WITHIN_S: Final = 10.0
# Drain, grace and the exit itself, as shrunk.
STOPPED_WITHIN_S: Final = 25.0
STARTED_WITHIN_S: Final = 30.0
WITH_THE_RUN: Final = "the service ends with its run"


def kill_worker() -> Nemesis:
    """One worker is killed; its supervisor has to replace it."""
    return Nemesis(
        name="kill_worker",
        does="one worker is killed (SIGKILL)",
        touches="one worker process of the service that the run started",
        undone_by="its supervisor starts another one; the next experiment restarts the service",
        needs=(can.RESTART, can.WORKERS),
        hold=_killed,
    )


@contextmanager
def _killed(apparatus: Apparatus) -> Iterator[str]:
    worker = apparatus.target.workers()[0]
    born = lifetime.birth(worker)
    with apparatus.written_down("a worker is killed", WITH_THE_RUN):
        apparatus.target.kill_worker(worker)
        if not came_true(lambda: lifetime.birth(worker) != born, within_s=DEAD_WITHIN_S):
            raise FaultDidNotBiteError(f"worker {worker} lives after SIGKILL")
        yield f"worker {worker} is gone"


def terminate_service() -> Nemesis:
    """The service is told to stop, as at every deploy, and started again when it has ended."""
    return Nemesis(
        name="terminate_service",
        does="the service is told to stop (SIGTERM), and started again when it has ended",
        touches="the service that the run started",
        undone_by="the service is started again with its data",
        needs=(can.RESTART,),
        hold=_terminated,
    )


@contextmanager
def _terminated(apparatus: Apparatus) -> Iterator[str]:
    target = apparatus.target
    with apparatus.written_down("the service is told to stop", WITH_THE_RUN):
        since_s = now_s()
        target.terminate()
        try:
            code = target.process.wait(STOPPED_WITHIN_S)
            if code is None:
                raise FaultDidNotBiteError("the service runs on after SIGTERM")
            apparatus.note(EXIT, process="service", since_s=since_s, code=code)
            yield f"ended with {code}"
        finally:
            target.restart(within_s=STARTED_WITHIN_S)
