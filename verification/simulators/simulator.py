"""A simulator: a vendor's wire, a script, a journal and the control endpoint on one port.

`run` is the whole life of the process. It ends on SIGTERM, and when the pipe on its stdin
ends, so that whoever started it cannot leave it behind. A healthy call is answered in the
callback that read it, with one write: about 0.1 ms of a core and 1 kB of journal, so that
hundreds of them per second leave a small machine to the service.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import stat
import sys
import traceback
from time import monotonic
from typing import Any, Final

from verification.simulators.answer import LAST_CHUNK, Answer, chunk
from verification.simulators.connection import Connection, Work
from verification.simulators.control import PREFIX, Control
from verification.simulators.gates import Gates, SentAwayError
from verification.simulators.http_request import Request
from verification.simulators.journal import Entry, Journal
from verification.simulators.peer import Peer, RefusedError
from verification.simulators.plan import CutOff, Hold, Send, SendHead, Step, Wait, flaw, plan
from verification.simulators.reply import Reply
from verification.simulators.rules import Rules, Traits

LOOPBACK: Final = "127.0.0.1"
STDIN: Final = 0
HEALTHY: Final = Reply()
# Far above what a load test keeps open; the kernel caps it.
BACKLOG: Final = 1024


class Simulator:
    """Serves a vendor's calls as the script says."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._rules = Rules(peer.known_fields)
        self._gates = Gates()
        self._journal = Journal()
        self._control = Control(peer, self._rules, self._journal, self._gates)

    def trouble(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what went wrong inside, for whoever reads the journal."""
        error = context.get("exception")
        told = "".join(traceback.format_exception(error)) if error else str(context)
        self._control.troubles.append(told)
        loop.default_exception_handler(context)

    def connection(self) -> Connection:
        """The protocol of one more connection."""
        return Connection(self.serve)

    def serve(self, connection: Connection, request: Request) -> Work:
        """Answer at once, or give what remains to be done."""
        if request.target.startswith(PREFIX):
            _send_whole(connection, request, self._control.answer(request))
            return None
        key = self._peer.key(request)
        entry = self._journal.arrive(request, key)
        answer, reply = self._decide(request, key, entry)
        if not reply.is_immediate:
            connection.on_left = entry.leave
            return Delivery(connection, request, entry, self._gates).follow(answer, reply)
        entry.status = answer.status
        entry.wrote(_send_whole(connection, request, answer))
        if connection.has_unsent:
            connection.on_left = entry.leave
            return _settled(connection, entry)
        entry.ended_s = monotonic()
        return None

    def _decide(self, request: Request, key: str | None, entry: Entry) -> tuple[Answer, Reply]:
        try:
            question = self._peer.read(request, key)
        except RefusedError as refused:
            return refused.answer, HEALTHY
        rule = None
        if self._rules:
            rule = self._rules.take(Traits(request.path, key, question.texts))
        if rule is None:
            return question.answer(HEALTHY), HEALTHY
        answer = question.answer(rule.reply)
        entry.rule, entry.flaw = rule.number, flaw(answer, rule.reply)
        return answer, rule.reply


def _send_whole(connection: Connection, request: Request, answer: Answer) -> int:
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


async def _settled(connection: Connection, entry: Entry) -> None:
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


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every simulator has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--port", type=int, default=0, help="0: any, which is announced")
    return made


def run(peer: Peer, port: int) -> int:
    """Serve until told to end; gives the exit code."""
    try:
        asyncio.run(_serve(peer, port))
    except OSError as error:
        sys.stderr.write(f"{peer.name}: cannot listen on {LOOPBACK}:{port}: {error}\n")
        return 3
    return 0


async def _serve(peer: Peer, port: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if _is_lifetime_pipe(STDIN):
        loop.add_reader(STDIN, _read_lifetime, STDIN, ended)
    simulator = Simulator(peer)
    loop.set_exception_handler(simulator.trouble)
    server = await loop.create_server(simulator.connection, LOOPBACK, port, backlog=BACKLOG)
    said: dict[str, Any] = {
        "event": "listening",
        "listening": server.sockets[0].getsockname()[1],
        "name": peer.name,
        "pid": os.getpid(),
    }
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
    await ended.wait()
    server.close()


def _is_lifetime_pipe(descriptor: int) -> bool:
    """Whether stdin can tell when whoever started us ends."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:  # closed
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _read_lifetime(descriptor: int, ended: asyncio.Event) -> None:
    if not os.read(descriptor, 4096):
        asyncio.get_running_loop().remove_reader(descriptor)
        ended.set()
