"""One user's callers ask without a pause: they are refused by the limit, and nobody else notices.

Matters because a client with a bug, or a crawler with a key, is the commonest overload of all; a
limit that only works while nobody presses is none. Works from outside, so on staging, too.
"""

from __future__ import annotations

from chaos.experiment import Experiment, Limits, after
from chaos.nemeses.callers import ask_in_a_storm
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import WHOLE, AnswersAsPromised
from verification.checkers.narrowed import Only
from verification.checkers.rate_window import AdmitsAtMost
from verification.contract import promises
from verification.contract.tiers import FREE, WINDOW_S

OTHERS = "enterprise"
REFUSED = frozenset({"rate_limited", "too_many_in_flight"})

EXPERIMENT = Experiment(
    claim="a storm of one user is refused at the limit with Retry-After, and costs nobody else",
    source="DESIGN 3.2",
    proves=(promises.ROLLING_WINDOW, promises.USERS_APART),
    workload=chat_callers(Callers(count=2, tier=OTHERS, is_one_user=True, every_s=0.1)),
    nemesis=ask_in_a_storm(callers=8, tier=FREE.name, refused=20),
    strikes=after(4),
    heals=after(8, tier=OTHERS),
    ends=after(4),
    checkers=(
        Only(AdmitsAtMost(FREE.requests, WINDOW_S), tier=FREE.name),
        Only(AnswersAsPromised(well=REFUSED | {WHOLE}), tier=FREE.name),
        Only(AnswersAsPromised(), tier=OTHERS),
    ),
    workers=1,
    limits=Limits(operations=700, chats=100),
    mutants=("rl-off-by-one",),
)
