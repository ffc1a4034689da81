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

from verification.simulators.answer import Answer
from verification.simulators.connection import Connection, Work
from verification.simulators.control import PREFIX, Control
from verification.simulators.delivery import Delivery, send_whole, settled
from verification.simulators.gates import Gates
from verification.simulators.http_request import Request
from verification.simulators.journal import Entry, Journal
from verification.simulators.peer import Peer, RefusedError
from verification.simulators.plan import flaw
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
            send_whole(connection, request, self._control.answer(request))
            return None
        key = self._peer.key(request)
        entry = self._journal.arrive(request, key)
        answer, reply = self._decide(request, key, entry)
        if not reply.is_immediate:
            connection.on_left = entry.leave
            return Delivery(connection, request, entry, self._gates).follow(answer, reply)
        entry.status = answer.status
        entry.wrote(send_whole(connection, request, answer))
        if connection.has_unsent:
            connection.on_left = entry.leave
            return settled(connection, entry)
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
