"""Redis forgets everything (a flush, a failover without a replica): one limit more, no more.

Matters because `allkeys-lru` and failovers do lose memory, and a service that cannot go on
without its scripts or its keys goes down with them.
"""

from __future__ import annotations

from chaos.experiment import Experiment, after
from chaos.nemeses.redis import empty_redis
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import WHOLE, AnswersAsPromised
from verification.checkers.narrowed import Only
from verification.checkers.rate_window import AdmitsAtMost
from verification.contract import promises
from verification.contract.tiers import FREE, WINDOW_S

EXPERIMENT = Experiment(
    claim="an emptied Redis costs one limit at most, and nobody is refused for it",
    source="DESIGN 3.2",
    proves=(promises.REDIS_EMPTIED,),
    workload=chat_callers(
        Callers(count=2, every_s=0.05),
        Callers(count=1, tier="free", every_s=0.02, streaming=0.0),
    ),
    nemesis=empty_redis(),
    strikes=after(3, code="rate_limited"),
    heals=after(1, code="rate_limited"),
    ends=after(10, code="rate_limited"),
    checkers=(
        AnswersAsPromised(well=frozenset({WHOLE, "rate_limited"})),
        Only(AdmitsAtMost(FREE.requests, WINDOW_S, workers=2), tier=FREE.name),
    ),
    mutants=("rl-emptied-lets-all-in",),
)
