"""Reaching each worker behind one port: by connecting until each has answered.

The kernel gives a new connection to whichever worker accepts first, so this asks with
several connections at once and looks at `X-Served-By`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from verification.harness.waiting import let_pass, now_s, together

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from verification.harness.http_client import Answer, Http

# Liveness depends on nothing, so it tells the worker under any fault.
LIVE = "/api/health/live"
# Connections at once: enough that one worker alone does not take them all.
AT_ONCE = 8
# Between rounds, ever longer: of a service with fewer workers than are wanted it is asked in vain.
PAUSE_S, PAUSE_S_MAX = 0.005, 0.2


class WorkerNotReachedError(Exception):
    """No connection came to that worker: what was to be shown there is unknown."""


def all_workers(http: Http, wanted: int, within_s: float) -> list[str]:
    """The `X-Served-By` of every worker that answered, sorted; stops when `wanted` have."""
    return sorted(each_workers(http, LIVE, wanted, within_s))


def each_workers(http: Http, path: str, wanted: int, within_s: float) -> dict[str, Answer]:
    """What each worker last answered to a GET, by its `X-Served-By`; stops when `wanted` have."""
    deadline_s = now_s() + within_s
    at_once = 1 if wanted == 1 else AT_ONCE
    seen: dict[str, Answer] = {}
    pause_s = 0.0
    while len(seen) < wanted and now_s() < deadline_s:
        let_pass(pause_s, because="who has asked in vain does not go on at full speed")
        pause_s = min(2 * pause_s + PAUSE_S, PAUSE_S_MAX)
        answers = together(at_once, lambda: http.get(path, timeout_s=within_s))
        seen |= {answer.served_by: answer for answer in answers if answer.served_by}
    return seen


def require_every_worker(answered: Iterable[str | None], wanted: int) -> None:
    """Say nothing of several workers unless each of them has answered.

    Takes: the `X-Served-By` of what a claim is about, None where nobody answered.
    Raises: WorkerNotReachedError.
    """
    seen = sorted({name for name in answered if name})
    if len(seen) < wanted:
        raise WorkerNotReachedError(f"expected answers of {wanted} workers, got {seen}")


@contextmanager
def connection_at(http: Http, served_by: str, within_s: float) -> Iterator[Http]:
    """An Http whose one kept-alive connection is held by the worker `served_by`.

    A service that closes it sends the next request anywhere: look at `Answer.served_by`.

    Raises: WorkerNotReachedError when none comes there within `within_s`.
    """
    deadline_s = now_s() + within_s
    while now_s() < deadline_s:
        with http.kept_open() as kept:
            if kept.get(LIVE).served_by == served_by:
                yield kept
                return
    raise WorkerNotReachedError(f"no connection came to {served_by} within {within_s:g} s")
