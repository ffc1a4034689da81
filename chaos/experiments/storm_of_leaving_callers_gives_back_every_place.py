"""Callers leave in a storm, before the first byte and in the middle of streams.

Matters because impatient people retry: whatever a caller that left still holds (a place in
flight, a provider's call, a breaker's probe) is multiplied by every retry.
"""

from __future__ import annotations

from chaos.experiment import Experiment, after
from chaos.nemeses.callers import leave_in_a_storm
from chaos.reads import places_in_flight, provider_calls
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import LEFT, WHOLE, AnswersAsPromised
from verification.checkers.leaving import CallsEndWithTheirCallers, PlacesComeBack
from verification.contract import promises
from verification.contract.bounds import bounds

EXPERIMENT = Experiment(
    claim="callers that leave in a storm give back every place, and nobody else notices",
    source="DESIGN 3.2, 3.4",
    proves=(promises.CALLER_LEAVES,),
    workload=chat_callers(Callers(count=2, every_s=0.1)),
    nemesis=leave_in_a_storm(callers=12, rounds=3),
    strikes=after(6),
    heals=after(6),
    ends=after(10),
    reads=(provider_calls("openai"), places_in_flight()),
    checkers=(
        CallsEndWithTheirCallers(bounds().caller_left_within_s),
        PlacesComeBack(),
        AnswersAsPromised(well=frozenset({WHOLE, LEFT})),
    ),
    mutants=("td-caller-left-unnoticed", "cl-places-kept-by-leavers"),
)
