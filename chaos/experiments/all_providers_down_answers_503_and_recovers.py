"""Every provider fails: callers are told so, with a code and when to come back, and it recovers.

Matters because a 500 makes callers and alerts look for a bug of ours, and without Retry-After
every caller comes back at once.
"""

from __future__ import annotations

from chaos.experiment import Experiment, after
from chaos.nemeses.providers import fail_all_providers
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import AnswersAsPromised
from verification.checkers.streams import StreamsEndOnce
from verification.contract import promises

DOWN = "no_provider_available"
MODELS = (None, "gpt-4o", "claude-sonnet-4-5")

EXPERIMENT = Experiment(
    claim="with all providers down every chat is 503 with Retry-After, and whole again afterwards",
    source="DESIGN 3.1, 3.4",
    proves=(promises.ALL_OPEN,),
    workload=chat_callers(Callers(count=4, every_s=0.05, models=MODELS)),
    nemesis=fail_all_providers(status=500),
    strikes=after(10),
    heals=after(30, code=DOWN),
    ends=after(20, status=200),
    # Breakers rest for a second, twice as long when a probe fails, four at most.
    checkers=(
        AnswersAsPromised(broken=frozenset({DOWN}), settle_s=10.0, wants=DOWN),
        StreamsEndOnce(),
    ),
    mutants=("pf-down-is-500",),
)
