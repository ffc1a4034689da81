"""What libraries and the interpreter write, as log events like our own.

Their messages may quote what a caller sent: of a record only the first line is told, and of
an error its type and its places. Nothing is ever written to stderr past the mask.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from types import TracebackType
from typing import Any, Final

from llmhive.app.telemetry import log

# These tell of every request and every connection, with addresses, when asked for INFO.
TALKATIVE: Final = ("httpx", "httpcore", "aiohttp", "asyncio", "uvicorn", "sqlalchemy", "stripe")
MESSAGE_LENGTH_MAX: Final = 200


class EventHandler(logging.Handler):
    """Passes the standard library's records on as events."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one record."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, asyncio.CancelledError):
            return  # a shutdown whose grace is over; told by whoever cancelled
        told: dict[str, Any] = {"logger": record.name, "text": _first_line(record)}
        if error is not None:
            log.failure("library_error", error, **told)
        else:
            log.event("library_message", level=_level(record.levelno), **told)


def _first_line(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001  a library's mistake must not cost the line
        text = str(record.msg)
    return text.strip().partition("\n")[0][:MESSAGE_LENGTH_MAX]


def _level(number: int) -> str:
    fitting = [name for name, least in log.LEVELS.items() if number >= least]
    return fitting[-1] if fitting else "debug"


def route_here(level: str) -> None:
    """Let everything that anybody logs, warns of or fails to catch become an event."""
    root = logging.getLogger()
    root.handlers = [EventHandler()]
    root.setLevel(level)
    for name in TALKATIVE:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _thread_died(args.exc_value)
    sys.unraisablehook = lambda args: _unraisable(args.exc_value)


def _uncaught(
    _kind: type[BaseException], error: BaseException, _traceback: TracebackType | None
) -> None:
    log.failure("uncaught_error", error)


def _thread_died(error: BaseException | None) -> None:
    if error is not None:
        log.failure("thread_died", error)


def _unraisable(error: BaseException | None) -> None:
    if error is not None:
        log.failure("unraisable_error", error)
