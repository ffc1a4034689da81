"""A fault where nobody passes: what a mistaken experiment does, to see that it is noticed."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from chaos.experiment import Nemesis
from verification.harness import capabilities as can
from verification.harness.faults import FaultDidNotBiteError
from verification.harness.waiting import came_true

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.apparatus import Apparatus

BITES_WITHIN_S = 1.0


def slow_a_road_that_nobody_takes(ms: int) -> Nemesis:
    """A second way to Redis is slowed; the service goes by the first."""

    @contextmanager
    def hold(apparatus: Apparatus) -> Iterator[str]:
        link = apparatus.target.faults.links["redis"]
        spare = f"{link.proxy_name}-spare"
        because = "the spare proxy ends with the run's Toxiproxy"
        with (
            apparatus.written_down(f"a spare proxy is slowed by {ms} ms", because),
            ExitStack() as undo,
        ):
            undo.callback(link.server.remove, spare)
            link.server.create(spare, link.upstream)
            link.server.add_toxic(spare, "latency", "downstream", {"latency": ms, "jitter": 0})
            if not came_true(lambda: link.feel(1.0).seconds >= ms / 1000, within_s=BITES_WITHIN_S):
                raise FaultDidNotBiteError(f"a probe by the service's road met {link.feel(1.0)}")
            yield "slow"

    return Nemesis(
        name="slow_a_road_that_nobody_takes",
        does=f"a second way to Redis is slowed by {ms} ms, which the service does not take",
        touches="a proxy of its own",
        undone_by="the spare proxy is removed",
        needs=(can.FAULTS,),
        hold=hold,
    )
