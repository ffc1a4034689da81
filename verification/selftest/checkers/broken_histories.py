"""Hand-made histories of something broken on purpose: from 10 to 20 s unless said otherwise."""

from __future__ import annotations

from typing import Any

from verification.history import History, Outcome

ASKED_S, BITES_S, HEALS_S, HEALED_S = 10.0, 11.0, 19.0, 20.0


def broken(history: History, outcome: Outcome = Outcome.OK, healed_s: float = HEALED_S) -> None:
    """A fault that bites a second after it was asked for and is healed a second late."""
    history.add(
        process="runner",
        f="nemesis",
        value={"name": "slow_redis", "bites_s": BITES_S, "heals_s": HEALS_S, "met": "silence"},
        outcome=outcome,
        started_s=ASKED_S,
        finished_s=healed_s,
    )


def control(history: History, at_s: float, seconds: float) -> None:
    """Something that depends on nothing took so long."""
    history.add(
        process="watch", f="control", outcome="ok", started_s=at_s, finished_s=at_s + seconds
    )


def chat(
    history: History,
    from_s: float,
    seconds: float = 0.01,
    outcome: Outcome = Outcome.OK,
    **value: Any,
) -> None:
    """A chat: whole with 200 unless said otherwise."""
    usual = {"status": 200, "code": None, "error": None, "retry_after_s": None, "served_by": "w1"}
    history.add(
        process="caller",
        f="chat",
        value={**usual, **value},
        outcome=outcome,
        started_s=from_s,
        finished_s=from_s + seconds,
    )


def refused(history: History, from_s: float, code: str, wait_s: int | None = 1) -> None:
    """A chat that was told to come back."""
    chat(history, from_s, outcome=Outcome.INFO, status=503, code=code, retry_after_s=wait_s)


def call(
    history: History,
    message: str | None,
    from_s: float,
    until_s: float,
    *,
    provider: str = "openai",
    goes_on: bool = False,
) -> None:
    """A provider's call."""
    history.add(
        process=provider,
        f="call",
        value={"message": message},
        outcome=Outcome.INFO if goes_on else Outcome.OK,
        started_s=from_s,
        finished_s=until_s,
    )
