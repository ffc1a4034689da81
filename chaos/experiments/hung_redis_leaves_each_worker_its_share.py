"""Redis says nothing any more: every chat is answered, and a user gets a bounded extra.

Matters because a limiter that lets everything through without Redis is no limiter on the day on
which it is needed, and one that refuses everything turns its store's outage into one of chat.
"""

from __future__ import annotations

from chaos.experiment import Experiment, after
from chaos.nemeses.redis import hang_redis
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import WHOLE, AnswersAsPromised
from verification.checkers.narrowed import Only
from verification.checkers.rate_window import AdmitsAtMost
from verification.contract import promises
from verification.contract.tiers import FREE, WINDOW_S

# Enough to fill the shared limit and every worker's share, and to be refused by each.
ASKED = 3 * FREE.requests

EXPERIMENT = Experiment(
    claim="while Redis hangs every chat is answered, and no user gets more than the shares",
    source="DESIGN 3.2",
    proves=(promises.REDIS_AWAY,),
    workload=chat_callers(
        Callers(count=2, every_s=0.05),
        Callers(count=1, tier="free", every_s=0.02, streaming=0.0),
    ),
    nemesis=hang_redis(),
    strikes=after(FREE.requests // 2, tier=FREE.name, is_degraded=False),
    heals=after(ASKED, tier=FREE.name, is_degraded=True),
    ends=after(FREE.requests, tier=FREE.name),
    checkers=(
        AnswersAsPromised(well=frozenset({WHOLE, "rate_limited"})),
        Only(AdmitsAtMost(FREE.requests, WINDOW_S, workers=2), tier=FREE.name),
    ),
    mutants=("rl-alone-without-limit",),
)
