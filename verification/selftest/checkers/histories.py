"""Hand-made histories, written shortly: times are seconds, users are u unless named."""

from __future__ import annotations

from verification.history import History, Outcome


def admitted(history: History, from_s: float, to_s: float | None = None, user: str = "u") -> None:
    """A request that was admitted somewhere between the two moments."""
    _chat(history, Outcome.OK, 200, (from_s, to_s), user=user)


def refused(
    history: History,
    from_s: float,
    to_s: float | None = None,
    user: str = "u",
    *,
    code: str = "rate_limited",
    retry_after_s: float | None = None,
) -> None:
    """A request that was refused."""
    _chat(history, Outcome.FAIL, 429, (from_s, to_s), user=user, code=code, wait=retry_after_s)


def lost(history: History, from_s: float, to_s: float, user: str = "u") -> None:
    """A request without an answer."""
    _chat(history, Outcome.INFO, 0, (from_s, to_s), user=user)


def failed(history: History, from_s: float, to_s: float, user: str = "u") -> None:
    """A request that was answered with 503, so it may have counted."""
    _chat(history, Outcome.INFO, 503, (from_s, to_s), user=user)


def _chat(
    history: History,
    outcome: Outcome,
    status: int,
    span_s: tuple[float, float | None],
    *,
    user: str,
    code: str | None = None,
    wait: float | None = None,
) -> None:
    from_s, to_s = span_s
    history.add(
        process=user,
        f="chat",
        value={"user": user, "status": status, "code": code, "retry_after_s": wait},
        outcome=outcome,
        started_s=from_s,
        finished_s=from_s if to_s is None else to_s,
    )


def fault(history: History, kind: str, from_s: float, to_s: float) -> None:
    """A fault from its bite to its healing."""
    history.add(
        process="faults",
        f="fault",
        value={"kind": kind},
        outcome=Outcome.OK,
        started_s=from_s,
        finished_s=to_s,
    )
