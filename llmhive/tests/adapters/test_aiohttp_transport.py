"""The transport on real sockets: what is sent, what failures are called, when it hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from llmhive.app.adapters.aiohttp_transport import AiohttpTransport

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Twice: a\r\nX-Twice: b\r\n\r\n"
WHOLE = HEAD + b"2\r\nhi\r\n0\r\n\r\n"
# What a reset is called depends on which of its two ends the kernel tells first.
LOST = (httpx.ReadError, httpx.RemoteProtocolError)
# Far beyond what a loopback needs; whoever waits so long waits in vain.
SOON_S = 5.0


class Peer:
    """A server that reads one request per turn and answers it as a test says."""

    def __init__(self, answer: bytes, *, ends: str = "keeps") -> None:
        self._answer = answer
        self._ends = ends
        self.requests: list[bytes] = []
        self.connections = 0
        self.asked = asyncio.Event()
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._turn(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()

    async def _turn(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.requests.append(head + await reader.readexactly(length))
        writer.write(self._answer)
        await writer.drain()
        self.asked.set()
        if self._ends == "reset":
            writer.transport.abort()
        return self._ends == "keeps"


@asynccontextmanager
async def meeting(peer: Peer) -> AsyncIterator[tuple[AiohttpTransport, httpx.Request]]:
    """A transport, and a request for the peer."""
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport = AiohttpTransport()
    headers = {"authorization": "Bearer k", "accept-encoding": "identity"}
    request = httpx.Request("POST", f"http://127.0.0.1:{port}/v1/x", headers=headers, content=b"{}")
    try:
        yield transport, request
    finally:
        await transport.aclose()
        server.close()


async def body_of(transport: AiohttpTransport, request: httpx.Request) -> bytes:
    response = await transport.handle_async_request(request)
    try:
        return await response.aread()
    finally:
        await response.aclose()


async def test_a_request_arrives_as_it_was_built() -> None:
    peer = Peer(WHOLE)
    async with meeting(peer) as (transport, request):
        await body_of(transport, request)

    lines = peer.requests[0].lower().split(b"\r\n")
    assert lines[0] == b"post /v1/x http/1.1"
    assert sorted(line.split(b":")[0] for line in lines[1:-2]) == sorted(
        [b"host", b"authorization", b"accept-encoding", b"content-length"]
    )
    assert lines[-1] == b"{}"


async def test_an_answer_comes_with_status_headers_and_body() -> None:
    async with meeting(Peer(WHOLE)) as (transport, request):
        response = await transport.handle_async_request(request)
        body = await response.aread()

    assert (response.status_code, body) == (200, b"hi")
    assert response.headers.get_list("x-twice") == ["a", "b"]


async def test_a_connection_whose_answer_was_read_is_used_again() -> None:
    peer = Peer(WHOLE)
    async with meeting(peer) as (transport, request):
        await body_of(transport, request)
        await body_of(transport, request)

    assert (len(peer.requests), peer.connections) == (2, 1)


async def test_a_redirect_is_an_answer_like_any_other() -> None:
    moved = b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    async with meeting(Peer(moved)) as (transport, request):
        response = await transport.handle_async_request(request)

    assert response.status_code == 307


async def test_cookies_are_not_kept() -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    peer = Peer(answer)
    async with meeting(peer) as (transport, request):
        await body_of(transport, request)
        await body_of(transport, request)

    assert b"cookie" not in peer.requests[1].lower()


@pytest.mark.parametrize(
    ("answer", "ends", "error"),
    [
        pytest.param(b"", "closes", httpx.RemoteProtocolError, id="closed-before-the-answer"),
        pytest.param(b"", "reset", LOST, id="reset-before-the-answer"),
        pytest.param(HEAD + b"2\r\nhi", "closes", httpx.RemoteProtocolError, id="cut"),
        pytest.param(b"nonsense\r\n\r\n", "closes", httpx.UnsupportedProtocol, id="no-http"),
        pytest.param(HEAD + b"zz\r\nhi", "closes", httpx.UnsupportedProtocol, id="bad-chunk"),
    ],
)
async def test_a_failure_is_called_by_its_name(
    answer: bytes, ends: str, error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    async with meeting(Peer(answer, ends=ends)) as (transport, request):
        with pytest.raises(error):
            await body_of(transport, request)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"])
async def test_a_host_that_is_not_there_was_not_reached(host: str) -> None:
    transport = AiohttpTransport()
    request = httpx.Request("POST", f"http://{host}/", content=b"{}")

    with pytest.raises(httpx.ConnectError):
        await transport.handle_async_request(request)

    await transport.aclose()


@pytest.mark.parametrize("answer", [b"", HEAD + b"2\r\nhi\r\n"], ids=["no-head", "in-the-body"])
async def test_cancelling_hangs_up_at_once(answer: bytes) -> None:
    peer = Peer(answer)
    async with meeting(peer) as (transport, request):
        work = asyncio.create_task(body_of(transport, request))
        await asyncio.wait_for(peer.asked.wait(), SOON_S)
        work.cancel()

        await asyncio.wait_for(peer.left.wait(), SOON_S)

    assert work.cancelled()


async def test_closing_an_unread_answer_hangs_up_at_once() -> None:
    peer = Peer(HEAD + b"2\r\nhi\r\n")
    async with meeting(peer) as (transport, request):
        response = await transport.handle_async_request(request)
        await response.aclose()

        await asyncio.wait_for(peer.left.wait(), SOON_S)

    assert peer.connections == 1
