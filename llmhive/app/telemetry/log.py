"""Log events: one JSON object per line, written by a thread from a bounded queue.

A full pipe never holds up the event loop: lines that find the queue full are dropped and
counted. A process that forks has no thread and writes directly. Every value that is not ours
alone is masked before it is written. Before `start` nothing is written, so that commands keep
their stdout. Imports the errors and the request record only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import select
import stat
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from llmhive.app.errors import LLMHiveError
from llmhive.app.telemetry.request_record import CURRENT

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
# Lines of several workers share a pipe; the kernel keeps writes up to PIPE_BUF in one piece.
LINE_BYTES_MAX: Final = select.PIPE_BUF
# A writer that waits a moment writes fifty times a second instead of once per line.
GATHER_S: Final = 0.02
# A reader that is alive makes room sooner.
ROOM_WITHIN_S: Final = 0.2
# What is kept of the longest text of a line that is too long.
LONG_TEXT_KEPT: Final = 1500

Sink = Callable[[bytes], None]
Mask = Callable[[dict[str, Any]], dict[str, Any]]


class LineWriter:
    """A bounded queue of lines and the thread that writes them to a descriptor."""

    def __init__(
        self,
        descriptor: int,
        *,
        capacity: int,
        on_drop: Callable[[int], None] | None = None,
    ) -> None:
        self._descriptor = descriptor
        self._capacity = capacity
        self._on_drop = on_drop or (lambda _count: None)
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._ending = threading.Event()
        self._untold = 0
        self._thread = threading.Thread(target=self._write_forever, name="log", daemon=True)
        self._thread.start()

    def __call__(self, line: bytes) -> None:
        """Queue a line, or drop it; returns at once either way."""
        if self._queue.qsize() >= self._capacity:
            self._dropped(1)
        else:
            self._queue.put(line)

    def close(self, within_s: float) -> None:
        """Write what is queued, for at most `within_s`; a reader that sleeps is left alone."""
        self._queue.put(None)
        self._ending.set()
        self._thread.join(within_s)

    def _dropped(self, count: int) -> None:
        self._untold += count
        self._on_drop(count)

    def _write_forever(self) -> None:
        while (line := self._queue.get()) is not None:
            self._ending.wait(GATHER_S)
            batch, is_over = self._gather(line)
            self._write(batch)
            if self._untold:
                lost, self._untold = self._untold, 0
                self._write([_line("log_lines_dropped", "warning", {"count": lost})])
            if is_over:
                return

    def _gather(self, first: bytes) -> tuple[list[bytes], bool]:
        batch = [first]
        with contextlib.suppress(queue.Empty):
            while len(batch) < self._capacity:
                line = self._queue.get_nowait()
                if line is None:
                    return batch, True
                batch.append(line)
        return batch, False

    def _write(self, batch: list[bytes]) -> None:
        for piece, count in _pieces(batch):
            try:
                self._write_piece(piece)
            except OSError:  # nobody reads any more
                self._dropped(count)

    def _write_piece(self, piece: bytes) -> None:
        while piece:
            try:
                piece = piece[os.write(self._descriptor, piece) :]
            except BlockingIOError:  # somebody who shares the pipe made it so
                select.select([], [self._descriptor], [])


class DirectWriter:
    """Writes each line at once, or drops it when whoever reads them sleeps for longer than that.

    For a process that forks: what another thread holds at that moment stays held in the child.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = _never_blocking(descriptor)
        self._untold = 0

    def __call__(self, line: bytes) -> None:
        """Write a line, or drop it; the next one that can be written says how many were.

        The first that finds no room waits a moment for it, those after it do not.
        """
        if self._untold and self._is_written(
            _line("log_lines_dropped", "warning", {"count": self._untold})
        ):
            self._untold = 0
        if not self._is_written(line):
            self._untold += 1

    def _is_written(self, line: bytes) -> bool:
        within_s = 0.0 if self._untold else ROOM_WITHIN_S
        try:
            if not select.select([], [self._descriptor], [], within_s)[1]:
                return False
            os.write(self._descriptor, line)
        except OSError:  # nobody reads any more, or another writer was faster
            return False
        return True


def _never_blocking(descriptor: int) -> int:
    """A pipe opened anew, since whether it blocks is shared with all who have it; else the same."""
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return descriptor
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(f"/proc/self/fd/{descriptor}", flags)
    except OSError:  # another system, or not ours to open
        return descriptor


def _pieces(batch: list[bytes]) -> Iterator[tuple[bytes, int]]:
    """Whole lines, as many as the kernel keeps in one piece."""
    piece, count = b"", 0
    for line in batch:
        if piece and len(piece) + len(line) > LINE_BYTES_MAX:
            yield piece, count
            piece, count = b"", 0
        piece, count = piece + line, count + 1
    if piece:
        yield piece, count


class _State:
    """What `start` sets; one per process."""

    sink: Sink | None = None
    threshold = LEVELS["info"]
    worker = ""
    salt = b""

    @staticmethod
    def mask(told: dict[str, Any]) -> dict[str, Any]:
        return told


def start(
    sink: Sink, *, level: str = "info", worker: str = "", salt: bytes = b"", mask: Mask | None
) -> None:
    """Let events of at least `level` go to `sink`, masked; `salt` keys the hashes of users."""
    _State.threshold = LEVELS[level.lower()]
    _State.worker, _State.salt = worker, salt
    if mask is not None:
        _State.mask = staticmethod(mask)  # type: ignore[assignment]  # a function of its own class
    _State.sink = sink


def stop() -> None:
    """Let nothing be written any more."""
    _State.sink = None


def event(event_name: str, /, *, level: str = "info", **fields: Any) -> None:
    """Write one line: time, level, event, worker, request_id if there is one, and the fields.

    Takes: a name in snake case, fields of JSON types; never a prompt, an address or a key.
    """
    if _State.sink is not None and LEVELS[level] >= _State.threshold:
        _State.sink(_line(event_name, level, fields))


def announcement(event_name: str, /, **fields: Any) -> None:
    """Write one line whatever the level: whoever started this process waits for it."""
    if _State.sink is not None:
        _State.sink(_line(event_name, "info", fields))


def failure(event_name: str, error: BaseException, /, **fields: Any) -> None:
    """Write an error with its traceback as one line.

    Foreign messages may quote what a caller sent, so types and places are told, and the
    message only of errors whose text is written by the service or the operating system.
    """
    told = str(error) if isinstance(error, LLMHiveError | OSError) else None
    event(
        event_name,
        level="error",
        error=type(error).__name__,
        message=told,
        traceback=places_of(error),
        **fields,
    )


def places_of(error: BaseException) -> str:
    """The traceback of an error and of its causes, without their messages."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < 5:  # noqa: PLR2004  deeper causes never told more
        frames = "".join(traceback.format_tb(seen.__traceback__)[-12:])
        parts.append(f"{type(seen).__module__}.{type(seen).__qualname__}\n{frames}")
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "caused by ".join(parts)


def user_digest(user_id: str) -> str:
    """A salted hash of a user's id: the same in every line, of no use to anybody else."""
    return hashlib.blake2b(
        user_id.encode("utf-8", "replace"), key=_State.salt, digest_size=8
    ).hexdigest()


def _line(event_name: str, level: str, fields: dict[str, Any]) -> bytes:
    record = CURRENT.get()
    # Ours alone, and never masked: a caller who presents such a word would hide the line.
    told: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "event": event_name,
        "worker": _State.worker,
    }
    if record is not None:
        told["request_id"] = record.request_id
    told |= _State.mask({name: value for name, value in fields.items() if value is not None})
    line = _dumped(told)
    return line if len(line) <= LINE_BYTES_MAX else _shortened(line, told)


def _dumped(told: dict[str, Any]) -> bytes:
    options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
    try:
        return orjson.dumps(told, default=_described, option=options)
    except TypeError:  # lone surrogates, integers beyond 64 bits, cycles
        return orjson.dumps({name: _plain(value) for name, value in told.items()}, option=options)


def _plain(value: object) -> str:
    return value if isinstance(value, str) and value.isascii() else ascii(value)


def _described(value: object) -> str:
    return f"<{type(value).__name__}>"


def _shortened(line: bytes, told: dict[str, Any]) -> bytes:
    """The line with its longest texts cut, after masking, so that no half of a secret is left."""
    masked: dict[str, Any] = orjson.loads(line)
    for name, value in masked.items():
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        if len(text) > LONG_TEXT_KEPT:
            masked[name] = text[: LONG_TEXT_KEPT // 3] + " … " + text[-LONG_TEXT_KEPT // 3 * 2 :]
    line = _dumped(masked)
    if len(line) <= LINE_BYTES_MAX:
        return line
    kept = ("time", "level", "event", "worker", "request_id", "error")
    return _dumped({name: told[name] for name in kept if name in told} | {"is_cut": True})
