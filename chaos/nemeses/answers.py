"""Answers of the service that never arrive, though it acted."""

from __future__ import annotations

from chaos.experiment import Nemesis
from verification.harness import capabilities as can


def lose_answers() -> Nemesis:
    """Requests by the service's proxy arrive and are acted on; their answers never come back."""
    return Nemesis(
        name="lose_answers",
        does="what the service answers by its proxy is lost, after it has acted",
        touches="the proxy before the service, which nothing but this experiment's callers use",
        undone_by="the timeout toxic is removed from the proxy before the service",
        needs=(can.PROXY,),
        hold=lambda apparatus: apparatus.target.faults.lose_answers("service"),
    )
