"""The first provider hangs: its breaker opens, callers get the second one, and it comes back.

Matters because a provider that hangs costs every request its whole time-out, and with it every
worker's places, until somebody stops asking; and one that is never asked again is lost for good.
"""

from __future__ import annotations

from chaos.experiment import Experiment, after, either
from chaos.moments import breaker_is, provider_has_calls
from chaos.nemeses.providers import hang_provider
from chaos.reads import breaker_attempts, breaker_reports
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import AnswersAsPromised
from verification.checkers.breaker_path import KeepsToThePathOf
from verification.contract import promises

BREAKER = "openai:gpt-4o:0"
# Open for longer than news may take, so that attempts in between can be told from late ones.
TIMEOUT_S, OPEN_S = 0.5, 4.0
# What was well before the fault is forgotten while it lasts, so that it must open.
WINDOW_S = 3.0

EXPERIMENT = Experiment(
    claim="a provider that hangs is left alone by its breaker, nobody waits for it, it comes back",
    source="DESIGN 3.3, 3.4",
    proves=(promises.BREAKER_OPENS, promises.FALLBACK),
    env={
        "S4_LLM_TIMEOUT": f"{TIMEOUT_S:g}",
        "BREAKER_OPEN_S": f"{OPEN_S:g}",
        "BREAKER_WINDOW_S": f"{WINDOW_S:g}",
    },
    workload=chat_callers(Callers(count=4, every_s=0.05, streaming=0.5)),
    nemesis=hang_provider(),
    strikes=after(10),
    # Or when it was asked so often that it must have opened long ago.
    heals=either(breaker_is(BREAKER, "open", times=4), provider_has_calls("openai", 70)),
    ends=after(20, provider="openai"),
    reads=(breaker_attempts("openai", TIMEOUT_S), breaker_reports(BREAKER)),
    checkers=(
        AnswersAsPromised(),
        KeepsToThePathOf(BREAKER, workers=2, window_s=WINDOW_S, open_s=OPEN_S),
    ),
    mutants=("cb-hang-not-counted",),
)
