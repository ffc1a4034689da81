"""Several workloads at once."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from chaos.experiment import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.apparatus import Apparatus


def together(*workloads: Workload) -> Workload:
    """All of these at the same time."""

    @contextmanager
    def run(apparatus: Apparatus) -> Iterator[None]:
        with ExitStack() as running:
            for one in workloads:
                running.enter_context(one.run(apparatus))
            yield

    return Workload(
        says="; ".join(one.says for one in workloads),
        needs=tuple(need for one in workloads for need in one.needs),
        run=run,
    )
