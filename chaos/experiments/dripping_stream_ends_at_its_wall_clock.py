"""A provider streams on and on, never idle for long enough: the request ends at its wall clock.

Matters because a bound on each read alone lets one byte now and then hold a place for hours.
"""

from __future__ import annotations

from chaos.experiment import Experiment, after
from chaos.nemeses.providers import drip_stream
from chaos.workloads.chat import Callers, chat_callers
from verification.checkers.availability import AnswersAsPromised
from verification.checkers.streams import EndsByTheWallClock, StreamsEndOnce
from verification.contract import promises

WALL_CLOCK_S = 2.0
WALL_CLOCK = "wall_clock_exhausted"

EXPERIMENT = Experiment(
    claim="a stream that drips without end is over at the wall clock, and says so",
    source="DESIGN 3.4",
    proves=(promises.WALL_CLOCK, promises.STREAM_ENDS_ONCE),
    env={"S4_MAX_WALL_CLOCK": f"{WALL_CLOCK_S:g}", "S4_STREAM_IDLE_TIMEOUT": "1.5"},
    workload=chat_callers(Callers(count=3, every_s=0.1, streaming=1.0)),
    # Four times the wall clock, without ever being idle.
    nemesis=drip_stream(every_s=0.2, pieces=40),
    strikes=after(6),
    heals=after(3),
    ends=after(12),
    checkers=(
        EndsByTheWallClock(WALL_CLOCK_S, WALL_CLOCK),
        StreamsEndOnce(),
        AnswersAsPromised(broken=frozenset({WALL_CLOCK})),
    ),
    mutants=("td-no-wall-clock",),
)
