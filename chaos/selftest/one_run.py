"""A run of chaos that a test may kill in the middle of a fault.

`python -m chaos.selftest.one_run REPORTS NOTE`: hangs Redis on a stand-in for the service, writes
its process id to NOTE while the fault acts, and goes on when `NOTE.go` is there. Ends with the
conclusion's exit code. As the command, it ends when its controller is killed.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from chaos import stacks
from chaos.apparatus import Apparatus
from chaos.campaign import Campaign
from chaos.conclusion import Conclusion
from chaos.experiment import Experiment, Limits, Moment, after
from chaos.nemeses.redis import hang_redis
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import AnswersAsPromised
from verification.contract import promises


def held_by(note: Path) -> Moment:
    """When the test says so; until then it is told that the fault acts."""

    def has_come(apparatus: Apparatus) -> bool:
        if not note.exists():
            part = note.with_suffix(".part")
            part.write_text(str(os.getpid()), "utf-8")
            part.rename(note)
        return note.with_suffix(".go").exists() and bool(apparatus.in_this_phase("chat"))

    return Moment("when the test says so", has_come)


def experiment(note: Path) -> Experiment:
    """Redis hangs for as long as the test wants."""
    return Experiment(
        claim="a hung Redis is none of the stand-in's business",
        source="chaos/selftest",
        proves=(promises.REDIS_AWAY,),
        workload=chat_callers(Callers(count=1, streaming=0.0)),
        nemesis=hang_redis(),
        strikes=after(1),
        heals=held_by(note),
        ends=after(1),
        checkers=(AnswersAsPromised(),),
        mutants=(),
        limits=Limits(seconds=120.0, operations=100_000),
    )


def main(reports: Path, note: Path) -> int:
    """Perform it and give the exit code."""
    campaign = Campaign(
        reports=reports,
        seed=1,
        make_lender=lambda run_id: stacks.local("processes", run_id),
    )
    began = datetime.now(UTC)
    campaign.run({"hung_redis_for_a_test": experiment(note)})
    conclusion = Conclusion(
        results=campaign.results,
        artefact={"kind": "a stand-in"},
        stack=campaign.stack,
        seed=1,
        began=began,
        ended=datetime.now(UTC),
        known=1,
        undone_first=[str(one) for one in campaign.undone_first],
    )
    conclusion.write(reports)
    sys.stdout.write(conclusion.line + "\n")
    return conclusion.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
