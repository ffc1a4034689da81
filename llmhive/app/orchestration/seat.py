"""A request's place among the caller's requests in flight, given back however it ends.

Imports ports and the context only. Source: DESIGN.md, section 3.2.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Generic

from llmhive.app.orchestration.context import RequestContext
from llmhive.app.orchestration.ports import AdmissionT, Limiter

# Settling goes on when whoever asked for it is cancelled; the loop keeps only weak references.
_SETTLING: set[asyncio.Task[None]] = set()


class Seat(Generic[AdmissionT]):
    """Within it the caller is watched; at its end `tokens_used` are charged, once.

    The watch starts after the admission and stops before the settlement, so that a caller
    who leaves interrupts neither.
    """

    __slots__ = ("_admission", "_context", "_limiter", "tokens_used")

    def __init__(
        self, limiter: Limiter[AdmissionT], admission: AdmissionT, context: RequestContext
    ) -> None:
        self._limiter = limiter
        self._admission = admission
        self._context = context
        self.tokens_used = 0

    async def __aenter__(self) -> None:
        self._context.caller.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context.caller.stop()
        settle = self._limiter.settle
        try:
            await settle(self._admission, tokens_used=self.tokens_used)
        except asyncio.CancelledError:
            # Once counts, and what was cut off may not have been it.
            task = asyncio.create_task(settle(self._admission, tokens_used=self.tokens_used))
            _SETTLING.add(task)
            task.add_done_callback(_SETTLING.discard)
            raise
