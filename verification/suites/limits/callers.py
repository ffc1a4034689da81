"""Callers as the claims on limits need them, and what has to be so for an exact claim.

Judges nothing: what was seen goes into the history, and checkers judge that.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from verification.harness import reach
from verification.harness.chat_result import ChatResult
from verification.harness.http_client import Http
from verification.harness.target import Target, User
from verification.harness.waiting import eventually, let_pass, now_s, together, together_over
from verification.history import History
from verification.verdict import UnknownVerdict

DECISIONS: Final = "llmhive_ratelimit_decisions_total"
# A stream that outlasts every claim that holds it, and ends before the wall clock.
PIECES: Final = 80
PIECE_EVERY_S: Final = 0.1
HELLO: Final = "Hello"


@contextmanager
def decided_together(target: Target) -> Iterator[None]:
    """What is claimed within is exact only if no worker decides alone, which is looked at.

    Raises: AssertionError when most decisions were local although Redis answers all the time;
    UnknownVerdict when some were, whatever the claim says.
    """
    before = target.settled_metrics()
    try:
        yield
    finally:
        target.redis.time_s()
        after = target.settled_metrics()
        local, shared = (
            after.sum(DECISIONS, source=source) - before.sum(DECISIONS, source=source)
            for source in ("local", "shared")
        )
        assert local <= shared, f"Redis answers, yet {local:g} of {local + shared:g} were local"
        if local:
            raise UnknownVerdict(f"{local:g} of {local + shared:g} decisions were local")


def require_every_worker(target: Target, history: History) -> None:
    """A claim about several workers says nothing unless each of them answered a chat.

    Raises: WorkerNotReachedError.
    """
    answered = (one.value["served_by"] for one in history.of("chat"))
    reach.require_every_worker(answered, target.workers_wanted)


@contextmanager
def at_each_worker(target: Target) -> Iterator[list[Http]]:
    """A kept connection to each worker."""
    with ExitStack() as open_ones:
        names = target.reach_all_workers()
        yield [open_ones.enter_context(target.at_worker(name)) for name in names]


def burst(target: Target, user: User, history: History, size: int) -> list[ChatResult]:
    """So many requests at once, each on a connection of its own."""
    return together(size, lambda: target.chat(user, HELLO, history=history))


def bursts(
    target: Target, user: User, history: History, *, size: int, pauses_s: Sequence[float]
) -> None:
    """A burst, and another one after each pause."""
    burst(target, user, history, size)
    for pause_s in pauses_s:
        let_pass(pause_s, because="the window rolls on between bursts")
        burst(target, user, history, size)


def in_turn(
    target: Target, user: User, history: History, *, https: Sequence[Http], each: int
) -> list[ChatResult]:
    """So many requests on each connection, one after the other."""
    turns = itertools.chain.from_iterable(itertools.repeat(http, each) for http in https)
    return [target.chat(user, HELLO, history=history, http=http) for http in turns]


def paced(
    target: Target,
    user: User,
    history: History,
    *,
    every_s: float,
    for_s: float,
    http: Http | None = None,
) -> list[ChatResult]:
    """One request after the other, begun at least so far apart."""
    results, end_s = [], now_s() + for_s
    while now_s() < end_s:
        next_s = now_s() + every_s
        results.append(target.chat(user, HELLO, history=history, http=http))
        let_pass(next_s - now_s(), because="a steady caller keeps its pace")
    return results


def waits_as_told(
    target: Target,
    user: User,
    history: History,
    message: str = HELLO,
    *,
    http: Http | None = None,
) -> ChatResult:
    """Ask until refused, wait as long as Retry-After says, and ask again."""
    refused = eventually(
        lambda: target.chat(user, message, history=history, http=http),
        until=lambda result: result.answer.retry_after_s,
        within_s=10,
        claim="a caller that goes on and on is refused",
    )
    let_pass(refused.answer.retry_after_s or 0, because="Retry-After says so")
    return target.chat(user, message, history=history, http=http)


def slow_stream(target: Target, message: str) -> None:
    """From now on the provider answers this message piece by piece, over many seconds."""
    target.provider(target.providers[0]).reply(
        contains=message, chunks=["."] * PIECES, chunk_delay_s=PIECE_EVERY_S
    )


def held(
    target: Target, user: User, message: str, count: int, *, https: Sequence[Http] = ()
) -> list[ChatResult]:
    """So many streams at once, all of which go on until each has been admitted or refused.

    Then their callers leave. Takes: `message`, one that `slow_stream` knows; `https`, over which
    the first of them go, so that it is known who is asked.
    """
    door = _Door(count)

    def ask(http: Http | None) -> ChatResult:
        arrive = door.arrival()
        result = target.chat(user, message, stream=True, leave_when=lambda _: arrive(), http=http)
        arrive()
        return result

    return together_over([*https, *[None] * (count - len(https))], ask)


class _Door:
    """Open once everybody has arrived."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._arrived: set[int] = set()
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def arrival(self) -> Callable[[], bool]:
        """One caller's arrival, which says whether the door is open; again counts once."""
        number = next(self._numbers)

        def arrive() -> bool:
            with self._lock:
                self._arrived.add(number)
                return len(self._arrived) >= self._expected

        return arrive


def admitted(results: Sequence[ChatResult]) -> list[ChatResult]:
    """Those that were let in, to their end or not."""
    return [one for one in results if one.status == 200]


def codes(results: Sequence[ChatResult]) -> set[str | None]:
    """The codes of those that were not."""
    return {one.code for one in results if one.status != 200}
