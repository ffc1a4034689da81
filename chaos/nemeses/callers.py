"""Callers as the trouble: a storm of people who ask and leave before they are answered."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from chaos.experiment import Nemesis
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import LEFT
from verification.harness import capabilities as can
from verification.harness.faults import FaultDidNotBiteError
from verification.harness.waiting import came_true

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.apparatus import Apparatus

STORM: Final = "in a storm"
WITH_THE_RUN: Final = "callers end with the run"
TOO_MANY: Final = 429
# An answer that lasts far longer than a caller's patience, and ends before the wall clock.
PIECES: Final = 60
PIECE_EVERY_S: Final = 0.1
BITES_WITHIN_S: Final = 15.0


def leave_in_a_storm(
    callers: int, *, rounds: int = 2, after_s: tuple[float, float] = (0.05, 0.6)
) -> Nemesis:
    """So many callers of one user ask, half of them streaming, and leave before they are answered.

    It bites when each has left `rounds` times on average. Takes: `after_s`, their patience.
    """
    group = Callers(
        count=callers,
        is_one_user=True,
        every_s=0.02,
        streaming=0.5,
        message=STORM,
        leaves_after_s=after_s,
    )

    @contextmanager
    def hold(apparatus: Apparatus) -> Iterator[str]:
        with (
            apparatus.written_down("callers leave in a storm", WITH_THE_RUN),
            _slow_answers(apparatus),
            chat_callers(group).run(apparatus),
        ):
            if not came_true(lambda: _left(apparatus) >= callers * rounds, within_s=BITES_WITHIN_S):
                raise FaultDidNotBiteError(f"only {_left(apparatus)} callers left")
            yield f"{_left(apparatus)} callers had left"

    return Nemesis(
        name="leave_in_a_storm",
        does=f"{callers} callers ask and leave before they are answered, again and again",
        touches="nothing: they are callers like all others",
        undone_by="they stop asking",
        needs=(can.USERS,),
        hold=hold,
    )


def ask_in_a_storm(callers: int, tier: str, *, refused: int) -> Nemesis:
    """So many callers of one user ask without a pause. It bites when so many were refused."""
    group = Callers(
        count=callers, tier=tier, is_one_user=True, every_s=0.0, streaming=0.0, message=STORM
    )

    def are_refused(apparatus: Apparatus) -> bool:
        codes = [one.value["status"] for one in apparatus.history.of("chat")]
        return codes.count(TOO_MANY) >= refused

    @contextmanager
    def hold(apparatus: Apparatus) -> Iterator[str]:
        with (
            apparatus.written_down("callers ask in a storm", WITH_THE_RUN),
            chat_callers(group).run(apparatus),
        ):
            if not came_true(lambda: are_refused(apparatus), within_s=BITES_WITHIN_S):
                raise FaultDidNotBiteError("nobody was refused, whatever they asked")
            yield f"{refused} and more were refused"

    return Nemesis(
        name="ask_in_a_storm",
        does=f"{callers} callers of one {tier} user ask without a pause",
        touches="nothing: they are callers like all others",
        undone_by="they stop asking",
        needs=(can.USERS,),
        hold=hold,
    )


def _left(apparatus: Apparatus) -> int:
    return sum(
        one.value.get("error") == LEFT and STORM in one.value["message"]
        for one in apparatus.history.of("chat")
    )


@contextmanager
def _slow_answers(apparatus: Apparatus) -> Iterator[None]:
    """Where providers can be scripted, answers to the storm last; elsewhere they do not."""
    target = apparatus.target
    with ExitStack() as undo:
        if can.SCRIPT in target.capabilities:
            provider = target.provider(target.providers[0])
            undo.callback(provider.clear_rules)
            provider.reply(contains=STORM, chunks=["."] * PIECES, chunk_delay_s=PIECE_EVERY_S)
        yield
