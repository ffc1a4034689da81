"""A fault is put on a road that nobody takes: the run must say unknown, never that it was survived.

Matters because the commonest chaos experiment is one whose fault never reached the service; every
claim holds then. This one is made to fail so: it holds only when the runner reports it unknown.
"""

from __future__ import annotations

from chaos.experiment import Expectation, Experiment, after
from chaos.nemeses.misplaced import slow_a_road_that_nobody_takes
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import AnswersAsPromised
from verification.contract import promises

EXPERIMENT = Experiment(
    claim="a fault that does not bite is reported unknown",
    source="DESIGN 5, 7",
    proves=(promises.REDIS_HOLDS_UP_NOBODY,),
    workload=chat_callers(Callers(count=2)),
    nemesis=slow_a_road_that_nobody_takes(ms=500),
    strikes=after(5),
    heals=after(5),
    ends=after(5),
    checkers=(AnswersAsPromised(),),
    # No bug of the service turns it red: chaos/selftest plants one into the runner.
    mutants=(),
    expects=Expectation.NO_BITE,
)
