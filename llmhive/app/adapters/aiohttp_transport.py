"""An httpx transport on aiohttp, which serves many requests at once for half of httpx's price.

httpx's own pool does not hold up at 32 requests in flight. Connections are closed at once when
a request is cancelled, and reading stops when nobody takes what was read (back-pressure).
Foreign errors become httpx's, told apart by whether the provider was reached.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType

import aiohttp
import httpx

# A host that does not answer a SYN within two retransmissions (1 s + 2 s) will hardly do later;
# the vendors' own clients take the same (openai-python and anthropic-sdk-python, 2025-10).
CONNECT_TIMEOUT_S = 5.0
# Below the idle time-outs of the providers' front doors, which are minutes.
KEEP_ALIVE_S = 15.0
# aiohttp says these itself.
OWN_HEADERS = frozenset({b"host", b"content-length", b"connection"})
NO_AUTOMATIC = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class _Translated:
    """Names aiohttp's errors as httpx does; without state, so that one serves all requests."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, aiohttp.ClientError | TimeoutError | OSError):
            raise _named(error) from error


# The first that fits; a connector's error is also a connection's, so the order counts.
NAMES: tuple[tuple[tuple[type[Exception], ...], type[httpx.TransportError], str], ...] = (
    ((aiohttp.ConnectionTimeoutError,), httpx.ConnectTimeout, "The host did not answer."),
    (
        (aiohttp.ClientConnectorError, aiohttp.ClientSSLError),
        httpx.ConnectError,
        "The host was not reached.",
    ),
    ((TimeoutError,), httpx.ReadTimeout, "The host fell silent."),
    (
        (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError),
        httpx.RemoteProtocolError,
        "The host closed the connection early.",
    ),
    (
        (aiohttp.ClientConnectionError, OSError),
        httpx.ReadError,
        "The connection was lost.",
    ),
)


def _named(error: Exception) -> httpx.TransportError:
    for kinds, name, detail in NAMES:
        if isinstance(error, kinds):
            return name(detail)
    return httpx.UnsupportedProtocol("The host does not speak HTTP.")


TRANSLATED = _Translated()


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends httpx requests over one shared pool without an upper bound: the limiter bounds."""

    def __init__(self) -> None:
        """Make no connection yet: the pool belongs to the loop of the first request."""
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and give the head of its answer; whoever reads on closes the answer."""
        if self._session is None:
            self._session = _new_session()
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in request.headers.raw
            if name.lower() not in OWN_HEADERS
        ]
        with TRANSLATED:
            response = await self._session.request(
                request.method,
                str(request.url),
                headers=headers,
                data=request.content,
                allow_redirects=False,
            )
        return httpx.Response(
            response.status, headers=response.raw_headers, stream=_Body(response), request=request
        )

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        while True:
            with TRANSLATED:
                chunk = await content.readany()
            if not chunk:
                return
            yield chunk

    async def aclose(self) -> None:
        # An answer read to its end has given its connection back already; any other closes it.
        self._response.close()


def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        skip_auto_headers=NO_AUTOMATIC,
        auto_decompress=False,
        trust_env=False,
    )
