"""Redis and the first provider fail at the same time: callers still get whole answers.

Matters because fallbacks are tried one at a time, and real outages (a zone, a network) take
several things at once: the breaker's shared state is away just when the breaker is needed.
"""

from __future__ import annotations

from chaos.experiment import Experiment, after, both
from chaos.nemeses.providers import fail_provider
from chaos.nemeses.redis import refuse_redis
from chaos.reads import provider_calls
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import AnswersAsPromised
from verification.checkers.provider_load import ProviderIsLeftAlone
from verification.checkers.streams import StreamsEndOnce
from verification.contract import promises

CALLERS, OPEN_S, CHATS = 4, 4.0, 60

EXPERIMENT = Experiment(
    claim="without Redis and its first provider every chat is whole, and the provider left alone",
    source="DESIGN 3.3, 3.4",
    proves=(promises.FALLBACK, promises.BREAKERS_WITHOUT_REDIS),
    env={"BREAKER_OPEN_S": f"{OPEN_S:g}"},
    workload=chat_callers(Callers(count=CALLERS, every_s=0.03)),
    nemesis=both(refuse_redis(), fail_provider()),
    strikes=after(10),
    heals=after(CHATS, provider="anthropic"),
    ends=after(20, provider="openai"),
    reads=(provider_calls("openai"),),
    checkers=(
        AnswersAsPromised(),
        StreamsEndOnce(),
        ProviderIsLeftAlone(
            provider="openai", workers=2, callers=CALLERS, open_s=OPEN_S, at_least=CHATS
        ),
    ),
    mutants=("cb-opens-only-shared",),
)
