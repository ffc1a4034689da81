"""Providers that take their time, so that requests are under way when something happens."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from chaos.experiment import Workload
from verification.harness import capabilities as can

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.apparatus import Apparatus


def answers_take(seconds: float, pieces: int = 5) -> Workload:
    """Every provider answers whole after so long, or streams so many pieces over as long."""
    reply: dict[str, Any] = {
        "delay_s": seconds / 2,
        "chunks": ["piece "] * pieces,
        "chunk_delay_s": seconds / 2 / pieces,
    }

    @contextmanager
    def run(apparatus: Apparatus) -> Iterator[None]:
        target = apparatus.target
        with ExitStack() as undo:
            for name in target.providers:
                undo.callback(target.provider(name).clear_rules)
                target.provider(name).reply(**reply)
            yield

    return Workload(says=f"answers take {seconds:g} s", needs=(can.SCRIPT,), run=run)
