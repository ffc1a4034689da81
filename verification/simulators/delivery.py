"""Answers on their way to the caller: in one write, or step by step as a plan says."""

from __future__ import annotations

import asyncio

from verification.simulators.answer import LAST_CHUNK, Answer, chunk
from verification.simulators.connection import Connection
from verification.simulators.gates import Gates, SentAwayError
from verification.simulators.http_request import Request
from verification.simulators.journal import Entry
from verification.simulators.plan import CutOff, Hold, Send, SendHead, Step, Wait, plan
from verification.simulators.reply import Reply


def send_whole(connection: Connection, request: Request, answer: Answer) -> int:
    """Send everything in one piece; gives how many bytes that were."""
    is_chunked = answer.is_stream and not request.is_http_1_0
    closes = request.wants_close or (answer.is_stream and not is_chunked)
    parts = [answer.head(is_chunked=is_chunked, closes=closes)]
    if is_chunked:
        parts += [chunk(piece) for piece in answer.pieces]
        parts.append(LAST_CHUNK)
    else:
        parts += answer.pieces
    data = b"".join(parts)
    connection.write(data)
    if closes:
        connection.close()
    return len(data)


async def settled(connection: Connection, entry: Entry) -> None:
    """Wait until a slow reader has taken everything."""
    await connection.sent()
    entry.end()


class Delivery:
    """Follows the plan of one answer."""

    def __init__(
        self, connection: Connection, request: Request, entry: Entry, gates: Gates
    ) -> None:
        self._connection = connection
        self._request = request
        self._entry = entry
        self._gates = gates

    async def follow(self, answer: Answer, reply: Reply) -> None:
        """Deliver the answer as the reply says."""
        is_chunked = answer.is_stream and not self._request.is_http_1_0
        closes = self._request.wants_close or (answer.is_stream and not is_chunked)
        try:
            for step in plan(answer, reply):
                match step:
                    case SendHead():
                        self._entry.status = answer.status
                        await self._send(answer.head(is_chunked=is_chunked, closes=closes))
                    case Send(payload):
                        await self._send(chunk(payload) if is_chunked else payload)
                    case CutOff(how):
                        await self._connection.cut(how)
                        return
                    case _:
                        await self._pause(step)
            if is_chunked:
                await self._send(LAST_CHUNK)
            if closes:
                self._connection.close()
        except SentAwayError:
            await self._connection.cut("rst")
        finally:
            self._entry.end()

    async def _pause(self, step: Step) -> None:
        if isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
        elif isinstance(step, Hold):
            self._entry.held = step.gate
            await self._gates.passed(step.gate)
            self._entry.held = None

    async def _send(self, data: bytes) -> None:
        self._connection.write(data)
        self._entry.wrote(len(data))
        await self._connection.sent()
