"""Stripe delivering the same event several times at the same moment."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from chaos.experiment import Nemesis
from chaos.workloads.webhooks import NEEDS, deliver, paid
from verification.harness.faults import FaultDidNotBiteError
from verification.harness.waiting import came_true, meanwhile, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.apparatus import Apparatus

CUSTOMER: Final = "duplicates"
BITES_WITHIN_S: Final = 15.0


def deliver_in_duplicate(copies: int) -> Nemesis:
    """Each event of one customer comes so many times at once. It bites when two have arrived."""

    @contextmanager
    def hold(apparatus: Apparatus) -> Iterator[str]:
        user = apparatus.customer(CUSTOMER)

        def deliver_copies() -> None:
            if not apparatus.is_spent:
                event = paid(user, None)
                together(copies, lambda: deliver(apparatus, event, CUSTOMER))

        with (
            apparatus.written_down("events come in duplicate", "they end with the run"),
            meanwhile(deliver_copies, every_s=0.05),
        ):
            if not came_true(lambda: _arrived(apparatus) >= copies, within_s=BITES_WITHIN_S):
                raise FaultDidNotBiteError("no duplicate was answered")
            yield f"{_arrived(apparatus)} copies were answered"

    return Nemesis(
        name="deliver_in_duplicate",
        does=f"each event of one customer comes {copies} times at once",
        touches="the ledger of a customer that the run makes",
        undone_by="no more copies are sent",
        needs=NEEDS,
        hold=hold,
    )


def _arrived(apparatus: Apparatus) -> int:
    return sum(
        one.process == CUSTOMER and bool(one.value["status"])
        for one in apparatus.history.of("deliver")
    )
