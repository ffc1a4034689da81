"""Named gates: a call that is told to wait goes on when somebody opens its gate."""

from __future__ import annotations

import asyncio


class SentAwayError(Exception):
    """The gate at which a call waited was forgotten; it will never open."""


class Gates:
    """Gates by name; closed until opened, open until forgotten."""

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    async def passed(self, name: str) -> None:
        """Wait until the gate is open.

        Raises: SentAwayError when all gates are forgotten instead.
        """
        if name in self._open:
            return
        turn = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(name, set())
        waiting.add(turn)
        try:
            await turn
        finally:
            waiting.discard(turn)

    def open(self, name: str) -> int:
        """Let go who waits and who comes; gives how many waited."""
        self._open.add(name)
        turns = [turn for turn in self._waiting.get(name, ()) if not turn.done()]
        for turn in turns:
            turn.set_result(None)
        return len(turns)

    def forget(self) -> None:
        """Close all gates and send away who waits."""
        self._open.clear()
        for turns in self._waiting.values():
            for turn in turns:
                if not turn.done():
                    turn.set_exception(SentAwayError())
        self._waiting = {}
