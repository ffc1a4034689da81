"""HTTP as a claim sees it: every request ends in an Answer, whatever the network did.

Fresh connection per request unless `kept_open` says otherwise, because reuse would send
everything to one worker. Times are monotonic seconds of this machine. May import answer only.
"""

from __future__ import annotations

import json as json_format
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from verification.harness.answer import Answer, Request

__all__ = ["Answer", "Http", "Request"]

# Far beyond what any claim waits for; a claim that waits longer says so.
TIMEOUT_S = 30.0
# Enough for any chat answer and page of metrics; more from a foreign target is cut.
BODY_BYTES_MAX = 32_000_000

Headers = Mapping[str, str] | list[tuple[str, str]]


class Http:
    """Sends requests to one origin and never raises for what the network does.

    `gate` is called with method and URL before each request and raises when it must not go out;
    `on_answer` is called with each Answer.
    """

    def __init__(
        self,
        base_url: str,
        *,
        on_answer: Callable[[Answer], object] | None = None,
        gate: Callable[[str, str], object] | None = None,
        headers: Headers = (),  # type: ignore[assignment]  # the empty tuple is a Headers
        trust_env: bool = False,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._on_answer = on_answer
        self._gate = gate
        self._headers = headers
        self._trust_env = trust_env
        # A context costs 20 ms and is of no use to plain HTTP.
        plain = self.base_url.startswith("http://")
        self._context = _no_certificates() if plain else httpx.create_ssl_context()
        self._kept: httpx.Client | None = None

    def _make_client(self, *, kept: int) -> httpx.Client:
        return httpx.Client(
            verify=self._context,
            trust_env=self._trust_env,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=kept),
            follow_redirects=False,
        )

    @contextmanager
    def _lent(self) -> Iterator[httpx.Client]:
        """The client whose connection is kept, or one for this request alone.

        Threads that shared a pool could lose an answer: a connection that one of them is through
        with may be given to another while the first closes it.
        """
        if self._kept is not None:
            yield self._kept
            return
        with self._make_client(kept=0) as client:
            yield client

    def get(self, path: str, **options: Any) -> Answer:
        """GET; options as for `request`."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Answer:
        """POST; options as for `request`."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> Answer:
        """PUT; options as for `request`."""
        return self.request("PUT", path, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        """DELETE; options as for `request`."""
        return self.request("DELETE", path, **options)

    def options(self, path: str, **options: Any) -> Answer:
        """OPTIONS; options as for `request`."""
        return self.request("OPTIONS", path, **options)

    def head(self, path: str, **options: Any) -> Answer:
        """HEAD; options as for `request`."""
        return self.request("HEAD", path, **options)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        content: bytes | str | Iterable[bytes] | None = None,
        headers: Headers | None = None,
        key: str | None = None,
        params: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
        leave_when: Callable[[bytes], object] | None = None,
    ) -> Answer:
        """Send one request and give what came back within `timeout_s` in all.

        Takes: `json` (sent as application/json) or `content` (no content type of its own);
        `key` becomes `Authorization: Bearer`; `leave_when` sees the body so far after each
        chunk and, when true, hangs up in the middle (error `left`). A time-out hangs up too.
        """
        if self._gate:
            self._gate(method, self.base_url + path)
        sent_s = time.monotonic()
        body = json_format.dumps(json).encode() if json is not None else content
        every = _header_list(self._headers) + _header_list(headers or [])
        if json is not None:
            every = [("content-type", "application/json"), *every]
        if key is not None:
            every = [*every, ("authorization", f"Bearer {key}")]
        wire = _Wire(sent_s, timeout_s, leave_when)
        with self._lent() as client:
            try:
                built = client.build_request(
                    method,
                    self.base_url + path,
                    content=body,
                    # UTF-8, since what is not ASCII is sent on purpose.
                    headers=[(name.encode(), value.encode()) for name, value in every],
                    params=params,
                    timeout=timeout_s,
                )
            except httpx.InvalidURL:
                url = self.base_url + path
                never = Request(method=method, url=url, headers=tuple(every), body=b"")
                answer = wire.answer(never, "invalid_request")
            else:
                answer = wire.exchange(client, built)
        if self._on_answer:
            self._on_answer(answer)
        return answer

    @contextmanager
    def kept_open(self) -> Iterator[Http]:
        """An Http of one kept-alive connection: consecutive requests reach the same worker."""
        kept = Http(
            self.base_url,
            on_answer=self._on_answer,
            gate=self._gate,
            headers=self._headers,
            trust_env=self._trust_env,
        )
        kept._kept = kept._make_client(kept=1)
        try:
            yield kept
        finally:
            kept.close()

    def raw(self, parts: bytes | Iterable[bytes], *, timeout_s: float = TIMEOUT_S) -> bytes:
        """Send bytes as they are on a fresh connection; what came back until it closed.

        For what no client library will send. Plain HTTP only. Gives what came before a
        time-out or a reset, b"" when nothing did.
        """
        if self._gate:
            self._gate("RAW", self.base_url)
        url = httpx.URL(self.base_url)
        got = bytearray()
        # A reset or a time-out is an answer too: what came before it.
        with (
            suppress(OSError),
            socket.create_connection((url.host, url.port or 80), timeout=timeout_s) as wire,
        ):
            deadline_s = time.monotonic() + timeout_s
            for part in [parts] if isinstance(parts, bytes) else parts:
                wire.sendall(part)
            while piece := _received(wire, deadline_s):
                got += piece
        return bytes(got)

    def close(self) -> None:
        """Close what is still open."""
        if self._kept is not None:
            self._kept.close()


@dataclass(slots=True)
class _Wire:
    """One exchange while it runs: what came so far, and how it ended."""

    sent_s: float
    timeout_s: float
    leave_when: Callable[[bytes], object] | None
    status: int = 0
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    first_byte_s: float | None = None
    body: bytearray = field(default_factory=bytearray)
    chunks: list[tuple[float, bytes]] = field(default_factory=list)

    def exchange(self, client: httpx.Client, request: httpx.Request) -> Answer:
        error: str | None = None
        response: httpx.Response | None = None
        try:
            response = client.send(request, stream=True)
            error = self._read(response)
        except httpx.HTTPError as failure:
            error = _name(failure)
        except httpx.StreamError:
            error = "protocol"
        answer = self.answer(_sent(request), error)
        if response is not None:
            response.close()
        return answer

    def answer(self, request: Request, error: str | None) -> Answer:
        return Answer(
            request=request,
            status=self.status,
            headers=self.headers,
            body=bytes(self.body),
            chunks=tuple(self.chunks),
            sent_s=self.sent_s,
            first_byte_s=self.first_byte_s,
            done_s=time.monotonic(),
            error=error,
        )

    def _read(self, response: httpx.Response) -> str | None:
        self.first_byte_s = time.monotonic()
        self.status, self.headers = response.status_code, response.headers
        for chunk in response.iter_bytes():
            at_s = time.monotonic()
            self.chunks.append((at_s, chunk))
            self.body += chunk
            if self.leave_when is not None and self.leave_when(bytes(self.body)):
                return "left"
            if at_s - self.sent_s > self.timeout_s:
                return "read_timeout"  # httpx bounds each read, this bounds their sum
            if len(self.body) > BODY_BYTES_MAX:
                return "too_large"
        return None


# The first kind that fits names the failure; the cause decides where httpx is too coarse.
_NAMES: list[tuple[type[BaseException], str]] = [
    (httpx.UnsupportedProtocol, "invalid_request"),
    (httpx.LocalProtocolError, "invalid_request"),
    (httpx.ConnectTimeout, "connect_timeout"),
    (httpx.PoolTimeout, "connect_timeout"),
    (httpx.ReadTimeout, "read_timeout"),
    (httpx.WriteTimeout, "write_timeout"),
    (httpx.RemoteProtocolError, "closed"),
    (httpx.ReadError, "closed"),
    (httpx.WriteError, "closed"),
    (httpx.CloseError, "closed"),
]


def _name(failure: httpx.HTTPError) -> str:
    """The network's deed in one word."""
    causes = {type(cause) for cause in _chain(failure)}
    if isinstance(failure, httpx.ConnectError):
        return "refused" if ConnectionRefusedError in causes else "unreachable"
    if causes & {ConnectionResetError, BrokenPipeError}:
        return "reset"
    return next((name for kind, name in _NAMES if isinstance(failure, kind)), "protocol")


def _received(wire: socket.socket, deadline_s: float) -> bytes:
    wire.settimeout(max(0.001, deadline_s - time.monotonic()))
    return wire.recv(65536)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _sent(request: httpx.Request) -> Request:
    try:
        body = request.content
    except httpx.RequestNotRead:
        body = b"(streamed)"
    return Request(
        method=request.method,
        url=str(request.url),
        headers=tuple(request.headers.multi_items()),
        body=body,
    )


def _header_list(headers: Headers) -> list[tuple[str, str]]:
    return list(headers.items()) if isinstance(headers, Mapping) else list(headers)


def _no_certificates() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
