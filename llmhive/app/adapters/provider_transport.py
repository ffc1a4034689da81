"""One provider behind one URL and one credential: requests out, complete answers in.

What differs between vendors is a `Wire`; everything else is here. Nothing is repeated, no time
is bounded, nothing is read ahead, and no text of a provider gets into an error. Foreign errors
end here: above, there is ProviderError only. Tests inject another httpx transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Mapping
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Protocol, cast

import httpx

from llmhive.app.adapters.provider_refusals import refusal, unreadable
from llmhive.app.adapters.sse import SseEvent, SseOverflowError, SseParser
from llmhive.app.clock import Clock
from llmhive.app.orchestration.model import ChatRequest, Completion, StreamEnd
from llmhive.app.orchestration.ports import ProviderError
from llmhive.app.orchestration.retries import AttemptEnd

# A thousand times what 1024 tokens take.
ANSWER_BYTES_MAX = 4_194_304
# What there is to learn from a refusal stands at its beginning.
REFUSAL_BYTES_MAX = 65_536
# The last bytes of HTTP follow the last event of a stream at once; a provider that is slower
# loses the connection, and nobody waits for it: the caller has had the whole answer.
LAST_BYTES_WITHIN_S = 0.05


class _Translated:
    """Names httpx's errors; `lost` is what losing the connection means at this moment.

    Without state, so that one serves all requests: a generator would cost each of them more.
    """

    __slots__ = ("_lost",)

    def __init__(self, lost: AttemptEnd) -> None:
        self._lost = lost

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, httpx.HTTPError | httpx.InvalidURL):
            return
        match error:
            case httpx.ConnectError():
                told = ProviderError(AttemptEnd.CONNECT_FAILED, "Not reached.")
            case httpx.ConnectTimeout():
                told = ProviderError(AttemptEnd.CONNECT_TIMED_OUT, "Not reached in time.")
            case httpx.TimeoutException():
                told = ProviderError(AttemptEnd.TIMED_OUT, "No answer in time.")
            case httpx.NetworkError() | httpx.RemoteProtocolError() | httpx.ProxyError():
                told = ProviderError(self._lost, "The connection was lost.")
            case _:
                told = unreadable("The answer is no HTTP.")
        raise told from error


CONNECTION_WHEN_LOST = _Translated(AttemptEnd.CONNECTION_LOST)
INCOMPLETE_WHEN_LOST = _Translated(AttemptEnd.INCOMPLETE)


class StreamReader(Protocol):
    """Reads one stream of one vendor, event by event."""

    end: StreamEnd | None

    def read(self, event: SseEvent) -> str:
        """The text of an event, which may be empty; sets `end` at the proven end.

        Raises: ProviderError.
        """


class Wire(Protocol):
    """How a vendor spells requests and answers."""

    def body(self, message: str, *, stream: bool) -> bytes:
        """Spell a request."""

    def completion(self, body: bytes) -> Completion:
        """Read a whole answer.

        Raises: ProviderError.
        """

    def reader(self) -> StreamReader:
        """Make a reader for one stream."""


class WireProvider:
    """A CompletionProvider that speaks a wire format; it holds its own key and no other."""

    def __init__(
        self,
        *,
        name: str,
        model: str,
        wire: Wire,
        url: str,
        headers: Mapping[str, str],
        transport: httpx.AsyncBaseTransport,
        clock: Clock,
    ) -> None:
        """Take the vendor's headers, credential included; compression is declined."""
        self.name = name
        self.model = model
        self._wire = wire
        self._url = httpx.URL(url)
        self._headers = httpx.Headers(
            {"content-type": "application/json", "accept-encoding": "identity", **headers}
        )
        self._transport = transport
        self._clock = clock

    async def complete(self, request: ChatRequest) -> Completion:
        """Get the whole answer at once.

        Raises: ProviderError.
        """
        response = await self._send(self._wire.body(request.message, stream=False))
        return self._wire.completion(await _read(response, ANSWER_BYTES_MAX))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | StreamEnd, None]:
        """Get the answer piece by piece, an empty piece for every sign of life, and its end.

        Raises: ProviderError, also when the stream ends without proof that it is complete.
        """
        response = await self._send(self._wire.body(request.message, stream=True))
        reader = self._wire.reader()
        parser = SseParser()
        async with aclosing(_chunks(response)) as chunks:
            async for chunk in chunks:
                yield ""
                for text in _texts(parser, reader, chunk):
                    yield text
                if reader.end is not None:
                    break
            else:
                raise ProviderError(AttemptEnd.INCOMPLETE, "The stream ended too early.")
            yield reader.end
            await _await_last_bytes(chunks)

    async def _send(self, body: bytes) -> httpx.Response:
        """Send a request; the answer has the status 200 and is to be read by `_chunks`."""
        request = httpx.Request("POST", self._url, headers=self._headers, content=body)
        with CONNECTION_WHEN_LOST:
            response = await self._transport.handle_async_request(request)
        if response.status_code == httpx.codes.OK:
            return response
        try:
            told = await _read(response, REFUSAL_BYTES_MAX)
        except ProviderError:
            told = b""
        raise refusal(response.status_code, response.headers, told, now_wall_s=self._clock.wall())


def _texts(parser: SseParser, reader: StreamReader, chunk: bytes) -> Iterator[str]:
    try:
        for event in parser.feed(chunk):
            text = reader.read(event)
            if reader.end is not None:
                return
            if text:
                yield text
    except SseOverflowError as error:
        raise unreadable("An event of the stream is too long.") from error


async def _read(response: httpx.Response, bytes_max: int) -> bytes:
    """The body of an answer, which must not be longer than `bytes_max`; closes the answer."""
    try:
        with INCOMPLETE_WHEN_LOST:
            return await _joined(_stream_of(response), bytes_max)
    finally:
        await response.aclose()


async def _joined(chunks: AsyncIterable[bytes], bytes_max: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for chunk in chunks:
        pieces.append(chunk)
        size += len(chunk)
        if size > bytes_max:
            raise unreadable(f"The answer is longer than {bytes_max} bytes.")
    return b"".join(pieces)


async def _chunks(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """The body of an answer as it comes; the answer is closed at the end, however it ends."""
    try:
        with INCOMPLETE_WHEN_LOST:
            async for chunk in _stream_of(response):
                yield chunk
    finally:
        await response.aclose()


def _stream_of(response: httpx.Response) -> AsyncIterable[bytes]:
    """The body's bytes, decoded if a provider compressed them against our word."""
    if "content-encoding" in response.headers:
        return response.aiter_bytes()
    return cast("httpx.AsyncByteStream", response.stream)


async def _await_last_bytes(chunks: AsyncGenerator[bytes, None]) -> None:
    with suppress(TimeoutError, ProviderError):
        async with asyncio.timeout(LAST_BYTES_WITHIN_S):
            async for _ in chunks:
                pass
