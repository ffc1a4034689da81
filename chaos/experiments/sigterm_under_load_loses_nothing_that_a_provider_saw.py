"""The service is told to stop while callers ask, as at every deploy.

Matters because every deploy does it: a request that a provider answered is paid for, and its
caller has to get it.
"""

from __future__ import annotations

from chaos.experiment import Experiment, after
from chaos.nemeses.process import terminate_service
from chaos.reads import provider_calls
from chaos.workloads.answers import answers_take
from chaos.workloads.chat import Callers, chat_callers
from chaos.workloads.together import together
from verification.checkers.availability import AnswersAsPromised
from verification.checkers.stopping import EndsInOrder, LosesNothingSeen
from verification.checkers.streams import StreamsEndOnce
from verification.contract import promises

# Nobody listens between the stop and the start; who was not taken yet, may be turned away.
GONE = frozenset({"refused", "reset", "closed"})

EXPERIMENT = Experiment(
    claim="a stop under load loses nothing that a provider saw, and ends in order",
    source="DESIGN 3.8",
    proves=(promises.DRAINS, promises.STREAM_ENDS_ONCE),
    env={"DRAIN_SECONDS": "1", "SHUTDOWN_GRACE_S": "8"},
    workload=together(
        answers_take(0.6), chat_callers(Callers(count=8, every_s=0.1, streaming=0.5))
    ),
    nemesis=terminate_service(),
    strikes=after(20),
    heals=after(1),
    ends=after(20, status=200),
    reads=(provider_calls("openai"), provider_calls("anthropic")),
    checkers=(
        LosesNothingSeen(at_least=20),
        EndsInOrder(),
        StreamsEndOnce(),
        AnswersAsPromised(broken=GONE),
    ),
    mutants=("cf-accepted-not-read-dropped",),
)
