"""Owns the listening socket, forks the workers, replaces the dead ones, passes SIGTERM on.

It loads the modules once and serves nothing itself: a worker is there in a fraction of the
time that loading takes, and all share that memory. Migrations run in a process of their own.
Workers hang on a pipe: when this process is gone, however, they end.
Source: DESIGN.md, section 3.8; decision 0003.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess
from typing import Final

from llmhive.app.clock import SystemClock
from llmhive.app.settings import Settings
from llmhive.app.telemetry import log
from llmhive.run_files import METRICS_VARIABLE, RunFiles

# A worker that dies at once, again and again, is begun anew ever more slowly: 0, 0.1, 0.2 … 5 s.
RESTART_BASE_S: Final = 0.1
RESTART_MAX_S: Final = 5.0
# Who has lived this long has not died of its start.
SETTLED_S: Final = 10.0
# A start that failed five times in a row will not succeed by itself.
START_TRIES: Final = 5
# Beyond drain and grace: cancelled requests, the last log lines, the exit itself.
STOP_MARGIN_S: Final = 6.0
LONGEST_WAIT_S: Final = 1.0
COULD_NOT_START: Final = 3
FORK: Final = multiprocessing.get_context("fork")
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StartError(Exception):
    """The service cannot be started; the text is for the operator."""


@dataclass(slots=True)
class Slot:
    """One worker's place: the process in it, and what became of those before."""

    process: ForkProcess | None = None
    status: int = -1
    is_up: bool = False
    started_s: float = 0.0
    restart_at_s: float = 0.0
    quick_deaths: int = 0


@dataclass(frozen=True, slots=True)
class Listening:
    """The socket and what to call it."""

    socket: socket.socket
    host: str
    port: int

    @property
    def url(self) -> str:
        """Where callers find it; a wildcard is told as loopback."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # nosec B104
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"http://{host}:{self.port}"


def listen(host: str, port: int) -> Listening:
    """Bind the address; workers listen on it.

    Raises: StartError that says what is wrong with it.
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, OverflowError) as error:
        raise StartError(f"--host {host} --port {port}: cannot be bound: {error}") from error
    return Listening(bound, host, bound.getsockname()[1])


@dataclass(slots=True)
class Supervisor:
    """Everything above the workers."""

    settings: Settings
    listening: Listening
    workers: int
    files: RunFiles
    migration: subprocess.Popen[bytes] | None = None
    slots: list[Slot] = field(init=False)
    _clock: SystemClock = field(default_factory=SystemClock)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _lifetime: tuple[int, int] = field(default_factory=os.pipe)
    _signals: list[int] = field(default_factory=list)
    _wake: tuple[socket.socket, socket.socket] = field(default_factory=socket.socketpair)
    _stop_by_s: float | None = None
    _exit_code: int = 0
    _is_announced: bool = False

    def __post_init__(self) -> None:
        self.slots = [Slot() for _ in range(self.workers)]

    def run(self) -> int:
        """Serve until told to stop; gives the exit code.

        0: everything in flight was finished; 1: something was cut; 3: could not start.
        """
        self._hear_signals()
        self._load()
        for slot in self.slots:
            self._spawn(slot)
        while self._stop_by_s is None or any(slot.process for slot in self.slots):
            self._turn()
        log.event("stopped", exit_code=self._exit_code)
        return self._exit_code

    def _hear_signals(self) -> None:
        reader, writer = self._wake
        for end in self._wake:
            end.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._selector.register(reader, selectors.EVENT_READ, reader)
        for number in STOP_SIGNALS:
            signal.signal(number, lambda heard, _frame: self._signals.append(heard))
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def _load(self) -> None:
        """Load what workers are made of; this process itself counts and serves nothing."""
        os.environ[METRICS_VARIABLE] = str(self.files.metrics)
        gc.disable()  # loading makes no garbage: looking for it would be a seventh of the start
        from llmhive import worker  # noqa: F401, PLC0415  slow, and only now are signals heard

        gc.freeze()
        gc.enable()
        self.files.forget_process(os.getpid())

    def _turn(self) -> None:
        """Wait for a signal, a worker's word, or the next thing to do, and do what is due."""
        for key, _ in self._selector.select(self._wait_s()):
            if isinstance(key.data, Slot):
                self._hear(key.data)
            else:
                key.fileobj.recv(4096)  # type: ignore[union-attr]  # the wake-up socket
        while self._signals:
            self._signals.pop()
            self._stop()
        self._look_after_migration()
        for slot in self.slots:
            self._look_after(slot)
        self._announce()

    def _wait_s(self) -> float:
        now = self._clock.monotonic()
        dues = [slot.restart_at_s for slot in self.slots if slot.process is None]
        dues += [self._stop_by_s] if self._stop_by_s is not None else []
        return max(0.0, min([LONGEST_WAIT_S, *(due - now for due in dues if due > now)]))

    # -- workers

    def _spawn(self, slot: Slot) -> None:
        reader, writer = os.pipe()
        slot.process = FORK.Process(target=self._become_worker, args=(reader, writer), daemon=True)
        with _held_back(*STOP_SIGNALS):
            slot.process.start()
        os.close(writer)
        slot.status, slot.is_up, slot.started_s = reader, False, self._clock.monotonic()
        self._selector.register(reader, selectors.EVENT_READ, slot)
        log.event("worker_started", pid=slot.process.pid)

    def _become_worker(self, heard: int, status: int) -> None:
        """What the fork does, for good: it keeps the socket and its two pipes, nothing else."""
        from llmhive import worker  # noqa: PLC0415  loaded long since

        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, *STOP_SIGNALS):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        self._selector.close()
        for end in self._wake:
            end.close()
        for descriptor in (heard, self._lifetime[1], *(slot.status for slot in self.slots)):
            if descriptor >= 0:
                os.close(descriptor)
        given = worker.Given(self.listening.socket, self._lifetime[0], status)
        sys.exit(worker.run(self.settings, given))

    def _hear(self, slot: Slot) -> None:
        if os.read(slot.status, 16):
            slot.is_up = True
        else:
            self._selector.unregister(slot.status)
            os.close(slot.status)
            slot.status = -1

    def _look_after(self, slot: Slot) -> None:
        if slot.process is None:
            if self._stop_by_s is None and self._clock.monotonic() >= slot.restart_at_s:
                self._spawn(slot)
            return
        code = slot.process.exitcode
        if code is not None:
            self._bury(slot, slot.process, code)
        elif self._stop_by_s is not None and self._clock.monotonic() >= self._stop_by_s:
            slot.process.kill()
            self._exit_code = self._exit_code or 1

    def _bury(self, slot: Slot, process: ForkProcess, code: int) -> None:
        slot.process, pid = None, process.pid or 0
        process.close()
        self.files.forget_worker(pid)
        if slot.status >= 0:
            self._hear(slot)
        if self._stop_by_s is not None:
            has_cut = code != 0 and (slot.is_up or code != -signal.SIGTERM)
            self._exit_code = self._exit_code or int(has_cut)
            return
        log.event("worker_died", level="error", pid=pid, exit_code=code)
        lived_s = self._clock.monotonic() - slot.started_s
        slot.quick_deaths = slot.quick_deaths + 1 if lived_s < SETTLED_S else 1
        wait_s = (
            RESTART_BASE_S * 2 ** min(slot.quick_deaths - 2, 10) if slot.quick_deaths > 1 else 0
        )
        slot.restart_at_s = self._clock.monotonic() + min(wait_s, RESTART_MAX_S)
        is_hopeless = slot.quick_deaths >= START_TRIES and not self._is_announced
        if code == COULD_NOT_START or is_hopeless:
            self._give_up("a worker could not start; see its lines above\n")

    # -- beginning and ending

    def _look_after_migration(self) -> None:
        code = self.migration.poll() if self.migration else None
        if code is None:
            return
        self.migration = None
        if code and self._stop_by_s is None:
            self._give_up("the database could not be migrated\n")

    def _announce(self) -> None:
        is_whole = all(slot.is_up for slot in self.slots) and self.migration is None
        if self._is_announced or not is_whole or self._stop_by_s is not None:
            return
        self._is_announced = True
        log.announcement(
            "listening",
            url=self.listening.url,
            host=self.listening.host,
            port=self.listening.port,
            workers=self.workers,
            pid=os.getpid(),
        )

    def _give_up(self, message: str) -> None:
        sys.stderr.write(message)
        self._exit_code = COULD_NOT_START
        self._stop()

    def _stop(self) -> None:
        """Pass SIGTERM on once; a second signal ends the patience."""
        if self._stop_by_s is not None:
            self._stop_by_s = self._clock.monotonic()
            return
        patience_s = self.settings.drain_seconds + self.settings.shutdown_grace_s + STOP_MARGIN_S
        self._stop_by_s = self._clock.monotonic() + patience_s
        # Connections are the workers' now: when the last of them stops accepting, nobody queues.
        self.listening.socket.close()
        for slot in self.slots:
            if slot.process is not None:
                slot.process.terminate()
        if self.migration is not None:
            self.migration.terminate()


@contextlib.contextmanager
def _held_back(*signals: signal.Signals) -> Iterator[None]:
    """Signals wait, so that none is heard by a fork that still has its parent's handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
