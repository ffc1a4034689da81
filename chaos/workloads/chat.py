"""Callers of chat: so many at once, each with a pace, some streaming, choices by the seed.

Each request becomes an operation f "chat" with what checkers ask for. A caller stops when the
experiment's operations are spent. Judges nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from chaos.experiment import Workload
from verification.checkers.availability import LEFT
from verification.checkers.streams import TOKEN
from verification.harness import capabilities as can
from verification.harness.limit_fields import limit_fields
from verification.harness.waiting import meanwhile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.apparatus import Apparatus
    from verification.harness.chat_result import ChatResult
    from verification.harness.http_client import Http
    from verification.harness.users import User
    from verification.history import Operation

CHAT: Final = "chat"
# Beyond every deadline of a shrunk service: whoever waits longer is told nothing.
PATIENCE_S: Final = 25.0
TIMEOUTS: Final = frozenset({"read_timeout", "write_timeout", "connect_timeout"})
# Kept of a reply: enough to see a splice, little enough for a history of thousands.
REPLY_MAX: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """How callers behave. `streaming` is the share of streamed requests; messages are unique."""

    count: int = 4
    tier: str = "enterprise"
    is_one_user: bool = False
    """All of them with the key of one user."""
    every_s: float = 0.05
    streaming: float = 0.25
    message: str = "hello"
    models: Sequence[str | None] = (None,)
    leaves_after_s: tuple[float, float] | None = None
    """Leaves so many seconds after sending, chosen by the seed between these two; of a stream
    also as soon as it begins, as often as not."""


def ask(
    apparatus: Apparatus,
    user: User,
    message: str,
    *,
    process: str,
    http: Http | None = None,
    stream: bool = False,
    timeout_s: float = PATIENCE_S,
    model: str | None = None,
    leaves: bool = False,
    leave_when: Callable[[bytes], object] | None = None,
) -> Operation:
    """One chat request, written down. Takes: `leaves`, whether the caller leaves in time."""
    more: dict[str, Any] = {} if model is None else {"model": model}
    result = apparatus.target.chat(
        user,
        message,
        stream=stream,
        timeout_s=timeout_s,
        http=http,
        leave_when=leave_when,
        **more,
    )
    how = {"stream": stream, "model": model}
    return record(apparatus, result, user, message, process=process, how=how, has_left=leaves)


def record(
    apparatus: Apparatus,
    result: ChatResult,
    user: User,
    message: str,
    *,
    process: str,
    how: Mapping[str, object],
    has_left: bool,
) -> Operation:
    """Write a chat into the history; `has_left`: its time-out was the caller's own wish.

    Stores: Operation f="chat": user, status, code, error, reply, provider, served_by,
    request_id, retry_after_s, stream, events, first_byte_s, is_degraded, model.
    """
    answer = result.answer
    return apparatus.history.add(
        process=process,
        f=CHAT,
        value={
            "user": user.id,
            "tier": user.tier,
            "message": message,
            "status": result.status,
            "code": result.code,
            "error": LEFT if has_left and result.error in TIMEOUTS else result.error,
            "reply": result.reply[:REPLY_MAX],
            "provider": result.body.get("provider"),
            "served_by": result.served_by,
            "request_id": result.request_id,
            "retry_after_s": answer.retry_after_s,
            "events": _shortened([event.event for event in result.events]),
            "first_byte_s": answer.first_byte_s and answer.first_byte_s - answer.sent_s,
            "is_degraded": limit_fields(answer).is_degraded,
            **how,
        },
        outcome=result.outcome,
        started_s=answer.sent_s,
        finished_s=answer.done_s,
        evidence=result.request_id,
    )


def _shortened(names: list[str]) -> list[str]:
    """Names of events in order, tokens that follow each other as one."""
    return names[:1] + [
        name for before, name in pairwise(names) if (before, name) != (TOKEN, TOKEN)
    ]


def chat_callers(*groups: Callers) -> Workload:
    """Callers that ask again and again until the workload ends, each group as it says."""
    told = [
        f"{one.count} callers ({one.tier}), one request each {one.every_s:g} s, "
        f"{one.streaming:.0%} streamed" + (", who leave" if one.leaves_after_s else "")
        for one in groups
    ]

    @contextmanager
    def run(apparatus: Apparatus) -> Iterator[None]:
        with ExitStack() as callers:
            for number, group in enumerate(groups):
                users = apparatus.users(group.tier, 1 if group.is_one_user else group.count)
                for caller in range(group.count):
                    name = f"{group.tier}-{number}.{caller}"
                    act = _caller(apparatus, group, users[caller % len(users)], name)
                    callers.enter_context(meanwhile(act, every_s=group.every_s))
            yield

    return Workload(says="; ".join(told), needs=(can.USERS,), run=run)


def _caller(apparatus: Apparatus, group: Callers, user: User, name: str) -> Callable[[], None]:
    chance, numbers = apparatus.chance(name), itertools.count(1)

    def ask_once() -> None:
        if apparatus.is_spent:
            return
        leaves, stream = group.leaves_after_s, chance.random() < group.streaming
        at_once = leaves is not None and stream and chance.random() < 1 / 2
        ask(
            apparatus,
            user,
            f"{group.message} ({apparatus.name} {name} {next(numbers)})",
            process=name,
            stream=stream,
            model=chance.choice(group.models),
            timeout_s=chance.uniform(*leaves) if leaves else PATIENCE_S,
            leaves=leaves is not None,
            leave_when=bool if at_once else None,
        )

    return ask_once
