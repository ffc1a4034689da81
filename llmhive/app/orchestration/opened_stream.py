"""A provider's stream whose first text has come: until then another provider may be tried.

Imports ports and models only. Source: DESIGN.md, section 3.4.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from llmhive.app.orchestration.model import BYTES_PER_TOKEN, StreamEnd
from llmhive.app.orchestration.ports import ProviderError
from llmhive.app.orchestration.retries import AttemptEnd

Pieces = AsyncGenerator[str | StreamEnd, None]


class OpenedStream:
    """The rest of a stream, one text at a time, each asked for only when it is wanted."""

    __slots__ = ("_bytes", "_first", "_pieces", "end")

    def __init__(self, pieces: Pieces, first: str | StreamEnd) -> None:
        self._pieces = pieces
        self._first: str | None = first if isinstance(first, str) else None
        self._bytes = 0
        self.end: StreamEnd | None = None if isinstance(first, str) else first

    @property
    def tokens(self) -> int:
        """An estimate of what was handed out so far."""
        return self._bytes // BYTES_PER_TOKEN + 1 if self._bytes else 0

    async def next_text(self, idle_s: float) -> str | None:
        """The next text, or None when the stream has ended well: then `end` is there.

        Takes: idle_s, the longest silence between two pieces.
        Raises: ProviderError, also after the silence.
        """
        text = await self._next_text(idle_s)
        if text is not None:
            self._bytes += len(text.encode("utf-8", "replace"))
        return text

    async def _next_text(self, idle_s: float) -> str | None:
        first, self._first = self._first, None
        if first is not None:
            return first
        while self.end is None:
            try:
                async with asyncio.timeout(idle_s):
                    piece = await _next(self._pieces)
            except TimeoutError as error:
                raise ProviderError(AttemptEnd.TIMED_OUT, "The stream fell silent.") from error
            if isinstance(piece, StreamEnd):
                self.end = piece
            elif piece:
                return piece
        return None

    async def close(self) -> None:
        """End the provider's call; one that has ended well may leave its connection for reuse."""
        if self.end is not None:
            await anext(self._pieces, None)
        await self._pieces.aclose()


async def open_stream(pieces: Pieces) -> OpenedStream:
    """Wait for the first text, or for the end of a stream that has none.

    Raises: ProviderError. Whatever is raised comes out of the provider's call, which is over.
    """
    while not (piece := await _next(pieces)):
        pass
    return OpenedStream(pieces, piece)


async def _next(pieces: Pieces) -> str | StreamEnd:
    try:
        return await anext(pieces)
    except StopAsyncIteration:
        raise ProviderError(AttemptEnd.INCOMPLETE, "The stream ended without its end.") from None
