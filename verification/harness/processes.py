"""Children of the suite, started and held by the keeper (lifetime.py), one keeper per worker.

Everything that runs beside the suite is started here, so that a killed worker or controller
leaves no process behind. May import waiting and lifetime.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from verification.harness import lifetime, undo_ways
from verification.harness.waiting import came_true

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from verification.harness.undo import UndoLog

# Who started this run and waits for it: with its death the run ends, too.
CONTROLLER = "LLMHIVE_CONTROLLER"
# The keeper does nothing that takes long; silence means that it is gone.
ANSWER_WITHIN_S = 15.0
# A simulator or server that has not said so much after this long, will not.
FIRST_WORD_WITHIN_S = 15.0


class ChildError(Exception):
    """A child could not be started, or did not say what it should have."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended. `code` is None when it was still running; `listened` for services."""

    code: int | None
    stdout: str
    stderr: str
    listened: bool = False

    def json(self) -> Any:
        """The last line of stdout that is JSON, None when there is none."""
        for line in reversed(self.stdout.splitlines()):
            try:
                return json.loads(line)
            except ValueError:
                continue
        return None


class Pipe:
    """A child's stdout as a pipe rather than a file: who stops reading it lets it fill."""

    def __init__(self, path: Path) -> None:
        """Make it at `path`, where the keeper opens it for the child."""
        os.mkfifo(path)
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._read = b""

    def text(self) -> str:
        """Everything read so far, with what stands in it now."""
        with suppress(BlockingIOError):
            while piece := os.read(self._reader, 65536):
                self._read += piece
        return self._read.decode("utf-8", "replace")

    def close(self) -> None:
        """Let whoever writes learn that nobody will read."""
        os.close(self._reader)


@dataclass(slots=True)
class Child:
    """A process that the keeper holds."""

    name: str
    pid: int
    born: str | None
    stdout_path: Path
    stderr_path: Path
    keeper: KeeperLink = field(repr=False)
    pipe: Pipe | None = field(default=None, repr=False)
    """Its stdout, when it was to be a pipe."""

    @property
    def exit_code(self) -> int | None:
        """Negative for a signal; None while it runs."""
        return self.keeper.exit_codes.get(self.pid)

    @property
    def is_alive(self) -> bool:
        """Not reaped yet."""
        return self.exit_code is None

    def signal(self, number: int, *, group: bool = False) -> bool:
        """Send a signal, to its group if asked; False when it had ended."""
        order = {"pid": self.pid, "number": int(number), "group": group}
        return bool(self.keeper.order("signal", **order)["sent"])

    def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL to its group after the grace; returns at once."""
        self.keeper.order("stop", pid=self.pid, grace_s=grace_s)

    def kill(self) -> None:
        """SIGKILL to the whole group; returns when the child is dead."""
        self.signal(signal.SIGKILL, group=True)
        self.wait(ANSWER_WITHIN_S)
        self.stop(0)

    def wait(self, within_s: float) -> int | None:
        """The exit code, None when it still runs after `within_s`."""
        came_true(lambda: not self.is_alive, within_s=within_s)
        return self.exit_code

    def stdout(self) -> str:
        """Everything it wrote to stdout so far."""
        return self.pipe.text() if self.pipe else self.stdout_path.read_text("utf-8", "replace")

    def stderr(self) -> str:
        """Everything it wrote to stderr so far."""
        return self.stderr_path.read_text("utf-8", "replace")

    def announced(self, key: str, within_s: float = FIRST_WORD_WITHIN_S) -> dict[str, Any]:
        """The first JSON line on stdout that has `key`, or whose `event` is `key`.

        Raises: ChildError when it ends or stays silent, with what it said instead.
        """
        found: list[dict[str, Any]] = []

        def has_said() -> bool:
            is_over = not self.is_alive  # looked at first, so that its last words count
            found.extend(_announcements(self.stdout(), key))
            return bool(found) or is_over

        came_true(has_said, within_s=within_s, every_s=0.01)
        if not found:
            raise ChildError(
                f"{self.name} (pid {self.pid}, exit code {self.exit_code}) did not announce "
                f"{key!r} within {within_s:g} s; it said: {self.stderr()[-2000:]}"
                f"{self.stdout()[-2000:]}"
            )
        return found[0]


def _announcements(text: str, key: str) -> list[dict[str, Any]]:
    found = []
    for line in text.splitlines(keepends=True):
        if key in line and line.startswith("{") and line.endswith("\n"):
            fact = json.loads(line)
            if key in fact or fact.get("event") == key:
                found.append(fact)
    return found


class KeeperLink:
    """The worker's end of the keeper."""

    def __init__(self) -> None:
        self.exit_codes: dict[int, int] = {}
        self._undo: UndoLog | None = None
        self._answers: dict[int, dict[str, Any]] = {}
        self._arrived = threading.Condition()
        self._numbers = itertools.count()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", lifetime.__file__, str(os.getpid()), *_controller()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a terminal's Ctrl-C is the worker's affair
        )
        self.pid = self._process.pid
        self._listener = threading.Thread(target=self._listen, name="keeper", daemon=True)
        self._listener.start()

    def start(
        self,
        argv: Sequence[str | Path],
        *,
        name: str,
        folder: Path,
        env: Mapping[str, str],
        cwd: Path | None = None,
        lifetime_pipe: bool = False,
        is_piped: bool = False,
    ) -> Child:
        """Start a child whose output goes to `<folder>/<name>.out` and `.err`.

        Takes: `lifetime_pipe` gives it a stdin that ends with the keeper; `is_piped` a stdout
        that is a pipe, which fills unless it is read.
        Raises: ChildError when the program cannot be started.
        """
        out, err = folder / f"{name}.out", folder / f"{name}.err"
        pipe = Pipe(out) if is_piped else None
        said = self.order(
            "start",
            argv=[str(word) for word in argv],
            env=dict(env),
            cwd=str(cwd or folder),
            stdout=str(out),
            stderr=str(err),
            lifetime_pipe=lifetime_pipe,
        )
        facts = {"pid": said["pid"], "born": said["born"], "boot": undo_ways.boot_id()}
        self.note("process", f"process {name} (pid {said['pid']})", **facts)
        return Child(name, said["pid"], said["born"], out, err, self, pipe)

    def note_in(self, log: UndoLog) -> None:
        """From now on write down what the keeper has to end, in case it dies together with us.

        The keeper itself stands first, so it is the last to be ended.
        """
        self._undo = log
        self.note("process", f"the keeper (pid {self.pid})", **undo_ways.identity(self.pid))

    def note(self, kind: str, says: str, **facts: object) -> None:
        """Write into the undo file, if there is one, what the keeper ends; see undo.py."""
        if self._undo is not None:
            self._undo.write(kind, says, **facts)

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        name: str,
        folder: Path,
        env: Mapping[str, str],
        cwd: Path | None = None,
        timeout_s: float,
    ) -> Finished:
        """Run a command to its end; one that takes longer is killed, with code None."""
        unique = f"{name}-{next(self._numbers)}"
        child = self.start(argv, name=unique, folder=folder, env=env, cwd=cwd)
        code = child.wait(timeout_s)
        child.kill()
        return Finished(code, child.stdout(), child.stderr())

    def remove_at_end(self, folder: Path) -> None:
        """Remove the folder when the worker has ended, however it ended."""
        self.note("folder", f"folder {folder}", path=str(folder))
        self.order("remove_at_end", folder=str(folder))

    def run_at_end(self, argv: Sequence[str]) -> None:
        """Run the command when the worker has ended, however it ended."""
        self.order("run_at_end", argv=list(argv))

    def order(self, do: str, **details: object) -> dict[str, Any]:
        """Give an order and wait for its answer.

        Raises: ChildError when the keeper refuses or is gone.
        """
        number = next(self._numbers)
        line = json.dumps({"id": number, "do": do, "with": details}).encode() + b"\n"
        with self._arrived:
            try:
                _pipe(self._process.stdin).write(line)
                _pipe(self._process.stdin).flush()
            except OSError as error:
                raise ChildError("the keeper of this worker's processes is gone") from error
            if not self._arrived.wait_for(lambda: number in self._answers, ANSWER_WITHIN_S):
                raise ChildError(f"the keeper did not answer the order {do!r}")
            answer = self._answers.pop(number)
        if "error" in answer:
            raise ChildError(f"{do}: {answer['error']}")
        return answer

    def close(self, within_s: float = 40.0) -> None:
        """End every child, and the keeper."""
        _pipe(self._process.stdin).close()
        self._process.wait(within_s)
        self._listener.join(within_s)

    def _listen(self) -> None:
        with _pipe(self._process.stdout) as said:
            for line in said:
                self._hear(json.loads(line))

    def _hear(self, fact: dict[str, Any]) -> None:
        with self._arrived:
            if "exited" in fact:
                self.exit_codes[fact["exited"]] = fact["code"]
            else:
                self._answers[fact["id"]] = fact
            self._arrived.notify_all()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ChildError("the keeper has no pipe")
    return pipe


def _controller() -> list[str]:
    """The controller of the run, pid and birth: our parent under xdist, else who is named."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        controller = os.getppid()
    else:
        controller = int(os.environ.get(CONTROLLER, "0"))
    born = lifetime.birth(controller)
    return [str(controller), born] if born is not None else []


_keepers: list[KeeperLink] = []


@contextmanager
def own_keeper() -> Iterator[KeeperLink]:
    """Hold the children that are started inside by a keeper of their own, which ends them after."""
    mine = KeeperLink()
    atexit.register(mine.close)
    _keepers.append(mine)
    try:
        yield mine
    finally:
        _keepers.remove(mine)
        atexit.unregister(mine.close)
        mine.close()


def keeper() -> KeeperLink:
    """The keeper of this process, started on first use and closed when the process ends."""
    if not _keepers:
        _keepers.append(KeeperLink())
        atexit.register(_keepers[0].close)
    return _keepers[-1]


def resident_bytes(pid: int) -> int:
    """What a process of this machine holds in memory, on Linux."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
