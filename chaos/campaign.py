"""Several experiments, one after the other, on stacks that are shared by configuration.

What an earlier run left is undone first. Signals end a campaign in order: the fault that acts is
healed, what was started is ended, what was not performed is said.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from chaos import kept
from chaos.apparatus import Apparatus
from chaos.judgement import Judgement, Owner, Word, judge
from chaos.kept import Result
from chaos.runner import owner_of, perform
from verification.harness import capabilities as can
from verification.harness import processes
from verification.harness.stack.choice import REMOTE
from verification.harness.stack.configuration import configuration
from verification.harness.target import Target
from verification.harness.undo import FOLDER, UndoLog, Undone, undo
from verification.harness.waiting import now_s
from verification.history import History

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from chaos.experiment import Experiment
    from verification.harness.fixtures import Lender, Lent
    from verification.harness.users import User

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Below the reports' folder: one folder for each experiment.
HISTORIES: Final = "histories"


class InterruptedByError(BaseException):
    """A signal came: everything unwinds, nothing new begins."""


@dataclass(slots=True, kw_only=True)
class Campaign:
    """One run of chaos. `lender` is asked when the undo file stands."""

    reports: Path
    seed: int
    make_lender: Callable[[str], Lender]
    undo_folder: Path = FOLDER
    say: Callable[[str], object] = print
    results: list[Result] = field(default_factory=list)
    undone_first: list[Undone] = field(default_factory=list)
    stack: dict[str, Any] = field(default_factory=dict)
    on_result: Callable[[Result], object] = lambda _: None
    _log: UndoLog | None = None
    # Elsewhere users are few: an experiment gets those that another one had.
    _lent_users: dict[str, list[User]] = field(default_factory=dict)
    _lent_customers: dict[str, User] = field(default_factory=dict)

    def run(self, experiments: Mapping[str, Experiment]) -> None:
        """Perform them all; each becomes a result, also what a signal left undone.

        Raises: StackError, UndoError when nothing can be begun.
        """
        waiting = dict(in_order(experiments))
        try:
            with _signals_unwind(), self.prepared() as lender:
                for name in list(waiting):
                    self.perform(name, waiting[name], lender)
                    del waiting[name]
        except InterruptedByError as error:
            self._leave_out(waiting, f"interrupted by {error}")

    def _leave_out(self, waiting: Mapping[str, Experiment], why: str) -> None:
        """Say of each experiment that was not performed to its end that nothing is known."""
        done = {result.name for result in self.results}
        judged = Judgement(Word.UNKNOWN, why, Owner.ENVIRONMENT)
        self.results += [
            kept.result_of(name, one, judged, seconds=0.0, folder=self.reports / HISTORIES / name)
            for name, one in waiting.items()
            if name not in done
        ]

    @contextmanager
    def prepared(self) -> Iterator[Lender]:
        """Undo what is left, write the undo file, give the lender; end everything at the end."""
        self.undone_first = [one for one in undo(self.undo_folder) if one.was_left]
        for one in self.undone_first:
            self.say(f"left by an earlier run: {one}")
        run_id = secrets.token_hex(4)
        log = UndoLog(self.undo_folder, f"chaos-{run_id}")
        self._log = log
        try:
            with processes.own_keeper() as keeper:
                keeper.note_in(log)
                lender = self.make_lender(run_id)
                yield lender
                lender.close()
        finally:
            for one in log.close():
                if one.was_left:
                    self.say(f"left behind and undone now: {one}")

    def perform(self, name: str, experiment: Experiment, lender: Lender) -> Result:
        """Perform one experiment, judge it and keep everything."""
        began_s = now_s()
        folder = self.reports / HISTORIES / name
        shutil.rmtree(folder, ignore_errors=True)
        judged = self._refused(experiment, lender) or self._performed(
            name, experiment, lender, folder
        )
        result = kept.result_of(name, experiment, judged, seconds=now_s() - began_s, folder=folder)
        self.results.append(result)
        self.on_result(result)
        return result

    def _refused(self, experiment: Experiment, lender: Lender) -> Judgement | None:
        """Why it must not even begin: asked before anything is touched."""
        wanted = configuration(experiment.env, experiment.workers)
        missing = sorted(set(experiment.needs) - lender.capabilities)
        if unmet := [*missing, *lender.unmet(wanted)]:
            return Judgement(Word.UNVERIFIED, f"this target lacks {', '.join(unmet)}")
        return None

    def _performed(
        self, name: str, experiment: Experiment, lender: Lender, folder: Path
    ) -> Judgement:
        history, log = History(), self._log
        if log is None:
            raise RuntimeError("expected perform() inside prepared()")
        try:
            lent = lender.lend(configuration(experiment.env, experiment.workers))
        except AssertionError as error:  # what answers there is not the service
            return Judgement(Word.FALSE, str(error), Owner.SERVICE)
        except Exception as error:  # noqa: BLE001  it cannot begin: unknown, and it says why
            return Judgement(Word.UNKNOWN, f"could not begin: {error}", owner_of(error))
        self.stack = {"kind": lent.stack.kind, "versions": dict(lent.stack.versions)}
        is_ours = lent.stack.kind != REMOTE
        if can.PROXY in lent.stack.capabilities:
            lent.stack.faults.undo_log = log
        apparatus = Apparatus(
            name=name,
            target=Target(lent.stack, claim_id=name),
            history=history,
            undo_log=log,
            seed=self.seed,
            limits=experiment.limits,
            known_users={} if is_ours else self._lent_users,
            known_customers={} if is_ours else self._lent_customers,
        )
        try:
            perform(experiment, apparatus)
        finally:
            kept.keep(folder, apparatus, experiment)
            left = _end(lent)
        judged = judge(experiment, history)
        if left and judged.word is Word.TRUE:
            return Judgement(Word.UNKNOWN, left, Owner.SUITE, judged.verdicts)
        return judged


def _end(lent: Lent) -> str:
    """Give a stack back; what it was left with, in words. A stack that is ill is not lent again."""
    try:
        links = lent.end_claim()
    except Exception as error:  # noqa: BLE001  it may have died of the experiment; that is known
        lent.stack.is_spoilt = True
        return f"the stack cannot be healed: {error}"
    return f"faults were left on {', '.join(links)}" if links else ""


def in_order(experiments: Mapping[str, Experiment]) -> list[tuple[str, Experiment]]:
    """In an order in which stacks are shared: those of one configuration follow each other."""
    return sorted(
        experiments.items(),
        key=lambda item: (configuration(item[1].env, item[1].workers).id, item[0]),
    )


@contextmanager
def _signals_unwind() -> Iterator[None]:
    """Turn signals into an exception of the main thread, once: healing is not interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def unwind(number: int, _frame: FrameType | None) -> None:
        for one in SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        raise InterruptedByError(signal.Signals(number).name)

    before = {number: signal.signal(number, unwind) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
