"""Redis refuses connections for a while; within a second of its return the limit is shared again.

Matters because a fallback that is never left again multiplies every limit by the number of
workers until the next deploy, and nobody notices.
"""

from __future__ import annotations

from chaos.experiment import Experiment, after
from chaos.moments import asked_beyond
from chaos.nemeses.redis import refuse_redis
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import AnswersAsPromised
from verification.checkers.sharing import SharedAgainWithin
from verification.contract import promises
from verification.contract.bounds import bounds

BOUND_S = bounds().back_to_shared_within_s

EXPERIMENT = Experiment(
    claim="limits are decided together again within a second of Redis's return",
    source="DESIGN 3.2",
    proves=(promises.REDIS_AWAY, promises.BACK_TO_SHARED),
    workload=chat_callers(Callers(count=3, every_s=0.05)),
    nemesis=refuse_redis(),
    strikes=after(10, is_degraded=False),
    heals=after(10, is_degraded=True),
    ends=asked_beyond(BOUND_S, count=20),
    checkers=(AnswersAsPromised(), SharedAgainWithin(BOUND_S)),
    mutants=("rl-alone-for-ever",),
)
