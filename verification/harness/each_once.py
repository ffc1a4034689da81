"""xdist's scheduler for claims: one whose process died has had its run, and stacks are reused.

xdist would give a deadly claim to each new worker in turn, which is a rerun by another name;
and it would give any unit to any worker, which costs the start of a stack each time. Imports
xdist, so the controller imports it when xdist runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdist.scheduler import LoadGroupScheduling

from verification.harness.schedule import Unit, next_unit

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

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Give a worker the unit that fits its stack, or else the next one."""
        waiting = {Unit.of(scope): scope for scope in self.workqueue}
        last = {each: self._last(each) for each in self.assigned_work}
        others = [name for each, name in last.items() if each is not node and name]
        chosen = next_unit(list(waiting), last=last.get(node), others=others)
        self.workqueue.move_to_end(waiting[chosen], last=False)
        super()._assign_work_unit(node)

    def _last(self, node: WorkerController) -> str | None:
        """The configuration of the unit that a worker was given last."""
        scope = next(reversed(self.assigned_work[node]), None)
        return Unit.of(scope).configuration if scope else None
