"""Where a process of the service writes its log lines: stdout, masked.

A worker writes from a queue; the supervisor, which forks, directly.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from llmhive.app.safety.masking import Masker
from llmhive.app.settings import Settings
from llmhive.app.telemetry import foreign_logs, log

SALT_FILE = "log-salt"
SALT_BYTES = 32


def start_worker_logging(
    settings: Settings, name: str, *, on_drop: Callable[[int], None]
) -> log.LineWriter:
    """Send every event of this process to stdout from now on, by a thread, until it is closed."""
    capacity = settings.log_queue_lines
    lines = log.LineWriter(sys.stdout.fileno(), capacity=capacity, on_drop=on_drop)
    _start(lines, settings, name)
    return lines


def start_supervisor_logging(settings: Settings) -> None:
    """Send every event of this process to stdout from now on, at once."""
    _start(log.DirectWriter(sys.stdout.fileno()), settings, "supervisor")


def _start(lines: log.Sink, settings: Settings, name: str) -> None:
    log.start(
        lines,
        level=settings.log_level,
        worker=name,
        salt=_salt_of(settings.llmhive_data_dir),
        mask=Masker(settings.secrets).values,
    )
    foreign_logs.route_here(settings.log_level)


def _salt_of(folder: Path) -> bytes:
    """The salt of this folder's user hashes; made at the first start, readable by us alone."""
    file = folder / SALT_FILE
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_bytes()[:SALT_BYTES]
    with os.fdopen(descriptor, "wb") as made:
        made.write(os.urandom(SALT_BYTES))
    return file.read_bytes()
