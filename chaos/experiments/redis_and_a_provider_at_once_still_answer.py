"""Redis and the first provider fail at the same time: callers still get whole answers.

Matters because fallbacks are tried one at a time, and real outages (a zone, a network) take
several things at once: the breaker's shared state is away just when the breaker is needed.
"""

from __future__ import annotations

from chaos.experiment import Experiment, after, both
from chaos.nemeses.providers import fail_provider
from chaos.nemeses.redis import refuse_redis
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import AnswersAsPromised
from verification.checkers.streams import StreamsEndOnce
from verification.contract import promises

EXPERIMENT = Experiment(
    claim="without Redis and without the first provider every chat is whole, by the second one",
    source="DESIGN 3.3, 3.4",
    proves=(promises.FALLBACK, promises.BREAKERS_WITHOUT_REDIS),
    workload=chat_callers(Callers(count=4, every_s=0.05)),
    nemesis=both(refuse_redis(), fail_provider()),
    strikes=after(10),
    heals=after(40, provider="anthropic"),
    ends=after(20, provider="openai"),
    checkers=(AnswersAsPromised(), StreamsEndOnce()),
    mutants=("cb-needs-redis",),
)
