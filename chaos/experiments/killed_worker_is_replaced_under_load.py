"""A worker is killed while callers ask: the other one serves them, and it is replaced.

Matters because kernels do kill workers for their memory, and a supervisor that does not notice
serves at half its strength until somebody restarts it.
"""

from __future__ import annotations

from chaos.experiment import Experiment, after
from chaos.nemeses.process import kill_worker
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import AnswersAsPromised
from verification.contract import promises

# What was in the killed worker's hands, or in its backlog, ends without an answer.
CUT = frozenset({"closed", "reset", "status 200"})

EXPERIMENT = Experiment(
    claim="a killed worker costs only what it held, and is replaced",
    source="DESIGN 3.1, 3.8",
    proves=(promises.WORKERS_RETURN,),
    workload=chat_callers(Callers(count=6, every_s=0.03)),
    nemesis=kill_worker(),
    strikes=after(20),
    heals=after(30, status=200),
    ends=after(30, status=200),
    checkers=(AnswersAsPromised(broken=CUT),),
    mutants=("cf-worker-not-replaced",),
)
