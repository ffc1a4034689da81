"""An httpx transport on aiohttp, which serves many requests at once for half of httpx's price.

httpx's own pool does not hold up at 32 requests in flight. Connections are closed at once when
a request is cancelled, and reading stops when nobody takes what was read (back-pressure).
Foreign errors become httpx's, told apart by whether the provider was reached.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

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
        with _translated():
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
            with _translated():
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


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout("The host did not answer.") from error
    except (aiohttp.ClientConnectorError, aiohttp.ClientSSLError) as error:
        raise httpx.ConnectError("The host was not reached.") from error
    except TimeoutError as error:
        raise httpx.ReadTimeout("The host fell silent.") from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError) as error:
        raise httpx.RemoteProtocolError("The host closed the connection early.") from error
    except aiohttp.ClientResponseError as error:
        raise httpx.DecodingError("The host does not speak HTTP.") from error
    except (aiohttp.ClientConnectionError, OSError) as error:
        raise httpx.ReadError("The connection was lost.") from error
    except aiohttp.ClientError as error:
        raise httpx.UnsupportedProtocol("The request could not be sent.") from error
