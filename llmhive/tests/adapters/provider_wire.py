"""A provider's wire in tests: respx behind the transport that adapters are given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import httpx
import respx

from llmhive.app.clock import SystemClock
from llmhive.app.orchestration.model import ChatRequest, StreamEnd
from llmhive.app.orchestration.ports import CompletionProvider, ProviderError
from llmhive.app.orchestration.retries import AttemptEnd

ASK = ChatRequest("hi {0.__class__} %s ${x} 漢")
KEY = "canary-of-this-provider"


class Pieces(httpx.AsyncByteStream):
    """A body that comes in pieces, may break, and knows whether it was closed."""

    def __init__(self, pieces: Sequence[bytes], breaks: Exception | None = None) -> None:
        self._pieces = pieces
        self._breaks = breaks
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._breaks is not None:
            raise self._breaks

    async def aclose(self) -> None:
        self.is_closed = True


def router_and_arguments() -> tuple[respx.Router, dict[str, Any]]:
    """A router, and what every provider is made with."""
    router = respx.Router(assert_all_called=False)
    arguments = {
        "base_url": "http://provider.test",
        "api_key": KEY,
        "max_tokens": 50,
        "transport": httpx.MockTransport(router.async_handler),
        "clock": SystemClock(),
    }
    return router, arguments


async def streamed(provider: CompletionProvider) -> tuple[str, StreamEnd | AttemptEnd | None]:
    """The text of a stream, and how it ended."""
    told: list[str | StreamEnd] = []
    end: AttemptEnd | None = None
    async with aclosing(provider.stream(ASK)) as pieces:
        try:
            async for piece in pieces:
                told.append(piece)  # noqa: PERF401  what came before a failure counts
        except ProviderError as error:
            end = error.end
    text = "".join(piece for piece in told if isinstance(piece, str))
    return text, next((piece for piece in told if isinstance(piece, StreamEnd)), end)


async def end_of(provider: CompletionProvider) -> ProviderError:
    """How a whole answer failed."""
    try:
        await provider.complete(ASK)
    except ProviderError as error:
        return error
    raise AssertionError("The answer was taken.")
