"""A caller that asks in pairs: a reading that may meet the fault, and a control that cannot."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from chaos.experiment import Workload
from chaos.steady_state import TIER
from verification.checkers.latency import PAIR
from verification.contract.http import LIVE
from verification.harness import capabilities as can
from verification.harness.waiting import meanwhile, now_s
from verification.history import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.apparatus import Apparatus

PAIRER: Final = "pairs"
WITHIN_S: Final = 10.0


def paired_caller() -> Workload:
    """One caller of chat, who after each answer pings what depends on nothing, and the provider.

    Stores: Operation f="pair": reading_s (the chat), control_s (both pings together).
    """

    @contextmanager
    def run(apparatus: Apparatus) -> Iterator[None]:
        target = apparatus.target
        user = apparatus.users(TIER, 1)[0]
        provider = target.faults.links[target.providers[0]]

        def ask() -> None:
            if apparatus.is_spent:
                return
            since_s = now_s()
            result = target.chat(user, "How late is it?", timeout_s=WITHIN_S)
            control_s = target.http.get(LIVE.path).seconds + provider.feel(WITHIN_S).seconds
            apparatus.note(
                PAIR,
                process=PAIRER,
                since_s=since_s,
                outcome=Outcome.OK if result.is_whole else Outcome.INFO,
                reading_s=result.answer.seconds,
                control_s=control_s,
            )

        with meanwhile(ask, every_s=0.01):
            yield

    return Workload(
        says="a caller whose every chat is followed by a control",
        needs=(can.USERS, can.FAULTS),
        run=run,
    )
