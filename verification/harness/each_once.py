"""xdist's scheduler for claims: one whose process died has had its run.

xdist would give it to each new worker in turn, which is a rerun by another name, and costs
the start of a stack each time. Imports xdist, so the controller imports it when xdist runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdist.scheduler import LoadGroupScheduling

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController


class EachOnce(LoadGroupScheduling):  # type: ignore[misc]  # xdist ships no types
    """Gives the other claims of a dead worker to the next one, and leaves out what it died of."""

    def remove_node(self, node: WorkerController) -> str | None:
        """Take a worker out; gives the claim that it ran when it died, None at an ordinary end."""
        died_of = None
        for unit in self.assigned_work[node].values():
            if died_of is None and (died_of := next((k for k, v in unit.items() if not v), None)):
                unit[died_of] = True
        super().remove_node(node)
        return died_of
