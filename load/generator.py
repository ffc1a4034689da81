"""A load run inside Locust: alone, as a worker, or as the master of workers.

A master sends nothing itself. It tells each worker its share of the schedule, and writes the
lines that workers on other hosts ship to it, so that nothing is lost when they go: a run is over
when every share has said so. Messages go over Locust's own channel. Loaded by generators only.
"""

from __future__ import annotations

import contextlib
import json
import logging
import platform
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from load import control
from load.dispatch import Dispatcher, Hooks
from load.plan import LEAD_S, Plan
from load.samples import Outcome, Recorder, Sample
from load.shapes import OpenLoop
from load.users import NAMES, Current, Sender
from load.wire import Answer

SHARE: Final = "llmhive_share"
LINES: Final = "llmhive_lines"
OVER: Final = "llmhive_over"
# Beyond the run itself: workers have to start, and to ship their last lines.
GRACE_S: Final = 10.0
ECHO_WITHIN_S: Final = 5.0

log = logging.getLogger("llmhive.load")


class LoadError(Exception):
    """A request that did not end well, as Locust's table of failures shows it."""


@dataclass(slots=True)
class Echo:
    """The control's process and the connection to it."""

    process: subprocess.Popen[bytes]
    wire: socket.socket

    @classmethod
    def start(cls) -> Echo:
        """Start the control beside this generator."""
        process = subprocess.Popen(
            [sys.executable, "-I", control.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        said = json.loads((process.stdout.readline() if process.stdout else b"") or b"{}")
        wire = socket.create_connection((control.LOOPBACK, said["listening"]), ECHO_WITHIN_S)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(process, wire)

    def ping(self) -> None:
        """One byte there and back. Raises OSError."""
        self.wire.sendall(b".")
        if not self.wire.recv(1):
            raise ConnectionResetError("the control is gone")

    def close(self) -> None:
        """End the control."""
        self.wire.close()
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait(ECHO_WITHIN_S)


@dataclass(slots=True)
class Generator:
    """The part of a run that this Locust process has."""

    environment: Environment
    plan: Plan
    share: dict[str, Any] | None = None
    echo: Echo | None = None
    workers: dict[str, bool] = field(default_factory=dict)
    """A master's workers by their client id: whether their share is over."""
    files: dict[str, Recorder] = field(default_factory=dict)
    deadline_s: float = 0.0
    keep: Callable[[Plan], object] | None = None
    """Told of each run that a person starts by hand, so that it can be judged later."""
    _starts: int = 0
    _marker: Path | None = None

    def attach(self) -> None:
        """Hang this generator onto Locust's events and messages."""
        runner, events = self.environment.runner, self.environment.events
        shape = self.environment.shape_class
        if isinstance(shape, OpenLoop):
            shape.callers, shape.is_over = self.plan.in_flight_max, self.is_over
        if isinstance(runner, MasterRunner):
            runner.register_message(LINES, self._on_lines)
            runner.register_message(OVER, self._on_over)
            events.test_start.add_listener(self._start_master)
        elif isinstance(runner, WorkerRunner):
            runner.register_message(SHARE, self._on_share)
            events.test_start.add_listener(self._start_worker)
        else:
            events.test_start.add_listener(self._start_alone)
        events.test_stopping.add_listener(lambda **_: self._stop("by hand"))
        events.test_stop.add_listener(lambda **_: self._close())

    def is_over(self) -> bool:
        """Every share has ended and every line is written, or too much time has gone by."""
        if self.deadline_s and time.monotonic() > self.deadline_s:
            log.error("the run took longer than its schedule allows; it is given up")
            return True
        if isinstance(self.environment.runner, MasterRunner):
            return bool(self.workers) and all(self.workers.values())
        dispatcher = Current.dispatcher
        return dispatcher is not None and dispatcher.over.is_set()

    # Alone, or as a worker

    def _start_alone(self, **_: object) -> None:
        self._renew()
        self._begin(number=0, of=1, folder=Path(self.plan.folder), ship=None)

    def _renew(self) -> None:
        """A run that is started again, in Locust's UI, gets a folder of its own."""
        self._starts += 1
        if self._starts > 1:
            base = Path(self.plan.folder).parent
            again = base.with_name(f"{base.name.partition('.')[0]}.{self._starts}")
            self.plan = replace(self.plan, folder=str(again / "raw"))
        if self.keep is not None:
            self.keep(self.plan)

    def _on_share(self, msg: Any, **_: object) -> None:
        self.share = dict(msg.data)

    def _start_worker(self, **_: object) -> None:
        told = self.share
        if told is None:
            log.error("this worker came too late for a share of the run; it stays idle")
            return
        if told["plan"] != self.plan.digest:
            log.error("this worker has another plan than its master; it stays idle")
            self._say_over()
            return
        self._renew()
        self.plan = replace(self.plan, run_id=told["run_id"])
        folder = Path(self.plan.folder)
        is_shared = str(folder.resolve()) == told["folder"] and Path(told["marker"]).exists()
        ship = None if is_shared else self._ship
        self._begin(number=told["number"], of=told["of"], folder=folder, ship=ship)

    def _say_over(self) -> None:
        runner = self.environment.runner
        if isinstance(runner, WorkerRunner):
            runner.send_message(OVER, {})

    def _begin(
        self, *, number: int, of: int, folder: Path, ship: Callable[[list[str]], object] | None
    ) -> None:
        self._close()
        self.deadline_s = time.monotonic() + LEAD_S + self.plan.over_s + GRACE_S
        self.echo = Echo.start()
        hooks = Hooks(
            send=Sender(self.plan, self.environment.host or ""),
            ping=self.echo.ping,
            told=self._tell_locust,
        )
        if ship is not None:
            hooks.ship = ship
        recorder = Recorder(folder, f"generator-{number}")
        dispatcher = Dispatcher(self.plan, number, of, recorder, hooks, machine=platform.node())
        Current.dispatcher = dispatcher
        dispatcher.start()
        dispatcher.over.rawlink(lambda _: self._say_over())

    def _ship(self, lines: list[str]) -> None:
        runner, told = self.environment.runner, self.share
        if isinstance(runner, WorkerRunner) and told is not None and lines:
            runner.send_message(LINES, {"number": told["number"], "lines": lines})

    def _tell_locust(self, sample: Sample, answer: Answer | None) -> None:
        is_fine = sample.outcome is Outcome.OK
        end_s = sample.done_s if sample.done_s is not None else sample.intended_s
        self.environment.events.request.fire(
            request_type="GET" if sample.kind == "health" else "POST",
            name=NAMES[sample.kind],
            response_time=(end_s - sample.intended_s) * 1000,
            response_length=answer.size if answer else 0,
            exception=None if is_fine else LoadError(sample.error or sample.outcome.value),
            context={},
        )

    # As a master

    def _start_master(self, **_: object) -> None:
        runner = self.environment.runner
        assert isinstance(runner, MasterRunner)
        self._renew()
        folder = Path(self.plan.folder)
        folder.mkdir(parents=True, exist_ok=True)
        # A worker that sees this file writes beside it, and need not ship anything.
        self._marker = folder / f"master-{secrets.token_hex(8)}"
        self._marker.touch()
        clients = [client.id for client in runner.clients.ready]
        self.workers = dict.fromkeys(clients, False)
        self.deadline_s = time.monotonic() + LEAD_S + self.plan.over_s + 2 * GRACE_S
        for number, client_id in enumerate(clients):
            told = {
                "number": number,
                "of": len(clients),
                "plan": self.plan.digest,
                "run_id": self.plan.run_id,
                "folder": str(folder.resolve()),
                "marker": str(self._marker.resolve()),
            }
            runner.send_message(SHARE, told, client_id)

    def _on_lines(self, msg: Any, **_: object) -> None:
        name = f"generator-{msg.data['number']}"
        if name not in self.files:
            self.files[name] = Recorder(Path(self.plan.folder), name)
        self.files[name].append(msg.data["lines"])

    def _on_over(self, msg: Any, **_: object) -> None:
        self.workers[msg.node_id] = True

    # Ends

    def _stop(self, reason: str) -> None:
        dispatcher = Current.dispatcher
        if dispatcher is not None and not dispatcher.over.is_set():
            dispatcher.stop(reason)
            dispatcher.over.wait(self.plan.drain_s)

    def _close(self) -> None:
        dispatcher = Current.dispatcher
        Current.dispatcher = None
        if dispatcher is not None:
            dispatcher.recorder.close()
        for recorder in self.files.values():
            recorder.close()
        self.files.clear()
        if self.echo is not None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self.echo.close()
            self.echo = None
        if self._marker is not None:
            self._marker.unlink(missing_ok=True)
            self._marker = None
