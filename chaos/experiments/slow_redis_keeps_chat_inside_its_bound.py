"""Redis answers twelve times slower than it may hold up a request; nobody notices.

Matters because a Redis under memory pressure or in a failover is slow long before it is gone,
and a limiter that waits for it turns that into an outage of chat.
"""

from __future__ import annotations

from chaos.experiment import Experiment, Moment, after
from chaos.nemeses.redis import slow_redis
from chaos.workloads.chat import Callers, chat_callers
from chaos.workloads.pairs import paired_caller
from chaos.workloads.together import together
from verification.checkers.availability import AnswersAsPromised
from verification.checkers.latency import HeldUpAtMost, has_calm_round
from verification.contract import promises
from verification.contract.bounds import bounds

BOUND_S = bounds().redis_holds_up_a_request_s
CHATS = 4

CALM = Moment(
    "when seven pairs in a row had a quick control, and chats were answered beside them",
    lambda apparatus: (
        len(apparatus.in_this_phase("chat")) >= CHATS
        and has_calm_round(apparatus.in_this_phase("pair"), BOUND_S)
    ),
)

EXPERIMENT = Experiment(
    claim="a slow Redis holds up no chat for longer than its bound, and nobody is refused for it",
    source="DESIGN 3.2",
    proves=(promises.REDIS_HOLDS_UP_NOBODY,),
    workload=together(chat_callers(Callers(count=2, every_s=0.2)), paired_caller()),
    nemesis=slow_redis(ms=600),
    strikes=after(7, "pair"),
    heals=CALM,
    ends=after(7, "pair"),
    checkers=(HeldUpAtMost(BOUND_S), AnswersAsPromised()),
    mutants=("rl-redis-waited-for",),
)
