"""Callers of one user leave in a storm, more of them than the user has places: the user goes on.

Matters because a place that is not given back when its caller leaves is missing until its lease
ends: a few impatient retries, and the user is locked out. Works from outside, so on staging, too.
"""

from __future__ import annotations

from chaos.experiment import Experiment, Limits, after
from chaos.nemeses.callers import leave_in_a_storm
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import LEFT, WHOLE, AnswersAsPromised
from verification.contract import promises
from verification.contract.tiers import ENTERPRISE

CALLERS = 6

EXPERIMENT = Experiment(
    claim="a user whose callers left in a storm, more than there are places, is served as before",
    source="DESIGN 3.2, 3.4",
    proves=(promises.CALLER_LEAVES, promises.IN_FLIGHT),
    workload=chat_callers(Callers(count=2, is_one_user=True, every_s=0.1)),
    nemesis=leave_in_a_storm(
        callers=CALLERS, rounds=ENTERPRISE.in_flight // CALLERS + 2, after_s=(0.004, 0.06)
    ),
    strikes=after(4),
    heals=after(4),
    ends=after(10),
    checkers=(AnswersAsPromised(well=frozenset({WHOLE, LEFT})),),
    workers=1,
    limits=Limits(operations=700, chats=350),
    mutants=("cl-places-kept-by-leavers",),
)
