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
# An answer that lasts far longer than a caller's patience, and ends before the wall clock.
PIECES: Final = 60
PIECE_EVERY_S: Final = 0.1
BITES_WITHIN_S: Final = 15.0


def leave_in_a_storm(callers: int, *, rounds: int = 2) -> Nemesis:
    """So many callers ask, half of them streaming, and leave before they have their answer.

    It bites when each has left `rounds` times on average.
    """
    group = Callers(
        count=callers,
        every_s=0.02,
        streaming=0.5,
        message=STORM,
        leaves_after_s=(0.05, 0.6),
    )

    @contextmanager
    def hold(apparatus: Apparatus) -> Iterator[str]:
        with (
            apparatus.written_down("callers leave in a storm", "they end with the run"),
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
