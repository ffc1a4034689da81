"""Owns the listening socket, starts the workers, replaces the dead ones, passes SIGTERM on.

Standard library and the log only, so that it is small and quick; migrations run in a process
of their own. Workers hang on a pipe: when this process is gone, however, they end.
Source: DESIGN.md, section 3.8.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Final

from llmhive.app.clock import SystemClock
from llmhive.app.settings import Settings
from llmhive.app.telemetry import log
from llmhive.run_files import RunFiles

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


class StartError(Exception):
    """The service cannot be started; the text is for the operator."""


@dataclass(slots=True)
class Slot:
    """One worker's place: the process in it, and what became of those before."""

    process: subprocess.Popen[bytes] | None = None
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
    bound.set_inheritable(True)
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
        for slot in self.slots:
            self._spawn(slot)
        while self._stop_by_s is None or any(slot.process for slot in self.slots):
            self._turn()
        log.event("stopped", exit_code=self._exit_code)
        return self._exit_code

    def _hear_signals(self) -> None:
        reader, writer = socket.socketpair()
        for end in (reader, writer):
            end.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._selector.register(reader, selectors.EVENT_READ, writer)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda heard, _frame: self._signals.append(heard))
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

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
        given = {
            "--socket": self.listening.socket.fileno(),
            "--lifetime": self._lifetime[0],
            "--status": writer,
            "--workers": self.workers,
        }
        safe = ["-P"] if sys.flags.safe_path else []
        command = [sys.executable, *safe, "-m", "llmhive.worker"]
        command += [str(part) for pair in given.items() for part in pair]
        slot.process = subprocess.Popen(  # noqa: S603  our own module
            command,
            pass_fds=(self.listening.socket.fileno(), self._lifetime[0], writer),
            env=self.files.worker_environment(),
            stdin=subprocess.DEVNULL,
        )
        os.close(writer)
        slot.status, slot.is_up, slot.started_s = reader, False, self._clock.monotonic()
        self._selector.register(reader, selectors.EVENT_READ, slot)
        log.event("worker_started", pid=slot.process.pid)

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
        code = slot.process.poll()
        if code is not None:
            self._bury(slot, slot.process.pid, code)
        elif self._stop_by_s is not None and self._clock.monotonic() >= self._stop_by_s:
            slot.process.kill()
            self._exit_code = self._exit_code or 1

    def _bury(self, slot: Slot, pid: int, code: int) -> None:
        slot.process = None
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
