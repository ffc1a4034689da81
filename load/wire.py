"""One request on the wire, as a caller sees it: when the first token came, how it ended.

On http.client, with connections kept open as an SDK keeps them. Not on Locust's own clients:
they repeat a request whose connection broke, and time a stream to its headers. Here nothing is
repeated: what fails, failed. Loaded by generators only.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlsplit

import gevent

from load.measures import REFUSED

# Servers close what idles (uvicorn after 5 s, most balancers after a minute); a request on a
# connection that is just being closed would fail for no fault of anybody's.
KEPT_FOR_S: Final = 2.0
OK_MIN: Final = 200
ERROR_MIN: Final = 400
# A line of `curl` has as many; more would only blur a table of errors.
CODE_LENGTH_MAX: Final = 48


@dataclass(slots=True)
class Answer:
    """What came back. `first_s` and `done_s` are monotonic; `error` in a word, None when well."""

    first_s: float | None = None
    done_s: float | None = None
    status: int | None = None
    error: str | None = None
    request_id: str | None = None
    served_by: str | None = None
    tokens: int = 0
    size: int = 0
    is_whole: bool = False
    """It was read to its end, so that its connection can be used again."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent; a streamed one must end in a `done` event."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] | None = None
    is_stream: bool = False


class Wire:
    """Exchanges requests with one origin, over connections kept for the next request.

    Waits cooperatively: Locust has patched the standard library by the time this is used.
    """

    def __init__(self, origin: str, timeout_s: float) -> None:
        url = urlsplit(origin)
        self._is_tls, self._host, self._port = url.scheme == "https", url.hostname or "", url.port
        self._prefix = url.path.rstrip("/")
        self._timeout_s = timeout_s
        self._context = ssl.create_default_context() if self._is_tls else None
        self._idle: list[tuple[float, HTTPConnection]] = []

    def exchange(self, request: Request) -> Answer:
        """Send one request and wait for all of its answer, within the time-out in all."""
        answer = Answer()
        connection = self._connection()
        timeout = gevent.Timeout(self._timeout_s)
        timeout.start()
        try:
            self._exchange(connection, request, answer)
        except gevent.Timeout as error:
            if error is not timeout:
                raise
            answer.error = "timeout"
        except HTTPException:
            answer.error = "closed"
        except OSError as error:
            answer.error = _named(error)
        finally:
            timeout.close()
            self._give_back(connection, is_whole=answer.is_whole)
        answer.done_s = time.monotonic()
        return answer

    def _connection(self) -> HTTPConnection:
        """The connection used last, if it is fresh enough, else a new one."""
        while self._idle:
            since_s, connection = self._idle.pop()
            if time.monotonic() - since_s < KEPT_FOR_S:
                return connection
            connection.close()
        if self._is_tls:
            return HTTPSConnection(
                self._host, self._port, timeout=self._timeout_s, context=self._context
            )
        return HTTPConnection(self._host, self._port, timeout=self._timeout_s)

    def _give_back(self, connection: HTTPConnection, *, is_whole: bool) -> None:
        if is_whole and connection.sock is not None:
            self._idle.append((time.monotonic(), connection))
        else:
            connection.close()

    def _exchange(self, connection: HTTPConnection, request: Request, answer: Answer) -> None:
        connection.request(
            request.method,
            self._prefix + request.path,
            body=request.body or None,
            headers=dict(request.headers or {}),
        )
        response = connection.getresponse()
        answer.status = response.status
        answer.request_id = response.getheader("x-request-id")
        answer.served_by = response.getheader("x-served-by")
        if not OK_MIN <= answer.status < ERROR_MIN:
            answer.error = _problem(answer.status, response.read())
        elif request.is_stream:
            _read_stream(response, answer)
        else:
            body = response.read()
            answer.size, answer.tokens = len(body), _tokens(body)
        answer.is_whole = response.isclosed()

    def close(self) -> None:
        """Close the connections that are kept."""
        for _, connection in self._idle:
            connection.close()
        self._idle.clear()


def _read_stream(response: HTTPResponse, answer: Answer) -> None:
    """Read events until the stream ends; anything but exactly one `done` at its end is an error."""
    last = ""
    for event, data in _events(response):
        if event == "token" and answer.first_s is None:
            answer.first_s = time.monotonic()
        answer.size += len(data)
        last = event or last
        if event == "done":
            answer.tokens = _tokens(data)
        elif event == "error":
            answer.error = _problem(response.status, data)
    if last != "done" and answer.error is None:
        answer.error = "stream_cut"


def _events(response: HTTPResponse) -> Iterator[tuple[str, bytes]]:
    """The name and data of each server-sent event."""
    event, data = "", b""
    while line := response.readline():
        text = line.rstrip(b"\r\n")
        if text.startswith(b"event:"):
            event = text[6:].strip().decode("utf-8", "replace")
        elif text.startswith(b"data:"):
            data += text[5:].strip()
        elif not text and (event or data):
            yield event, data
            event, data = "", b""


def _tokens(body: bytes) -> int:
    """What an answer says that it used; 0 when it says nothing."""
    try:
        return int(json.loads(body)["usage"]["total_tokens"])
    except (ValueError, TypeError, KeyError):
        return 0


def _problem(status: int, body: bytes) -> str:
    """The code of a problem document, else the status."""
    try:
        facts: Any = json.loads(body)
        return str(facts["code"])[:CODE_LENGTH_MAX]
    except (ValueError, TypeError, KeyError):
        return f"status_{status}"


def _named(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return REFUSED
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "reset"
    return "timeout" if isinstance(error, TimeoutError) else "unreachable"
