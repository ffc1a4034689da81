"""What a run would do, before it does anything: the list, and the plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from chaos.steady_state import SAYS
from verification.harness.stack.configuration import configuration

if TYPE_CHECKING:
    from chaos.experiment import Experiment


def listed(experiments: Mapping[str, Experiment]) -> str:
    """One line for each experiment."""
    width = max(map(len, experiments))
    return "\n".join(f"{name:{width}}  {one.claim}" for name, one in experiments.items())


def planned(
    experiments: Mapping[str, Experiment],
    where: str = "a service, a Redis and simulators of its own",
    lacking: Mapping[str, list[str]] | None = None,
) -> str:
    """What each would touch, for how long, and how it is undone.

    Takes: `lacking`, what the target lacks for an experiment, by name; those are not performed.
    """
    left_out = {name: what for name, what in (lacking or {}).items() if what}
    possible = {name: one for name, one in experiments.items() if name not in left_out}
    longest_s = sum(one.limits.seconds + one.recovery_s for one in possible.values())
    head = (
        f"{len(possible)} of {len(experiments)} experiments on {where}; "
        f"at most {longest_s / 60:.0f} min in all\n"
        f"before and after each: {SAYS}"
    )
    tail = [f"{name}: not performed, for want of {', '.join(w)}" for name, w in left_out.items()]
    parts = [head, *(_planned(name, one) for name, one in possible.items()), "\n".join(tail)]
    return "\n\n".join(part for part in parts if part)


def _planned(name: str, one: Experiment) -> str:
    rows = {
        "claim": one.claim,
        "breaks": one.nemesis.does,
        "touches": one.nemesis.touches,
        "load": f"{one.workload.says}; at most {one.limits.operations} operations",
        "begins": one.strikes.says,
        "heals": one.heals.says,
        "undone by": one.nemesis.undone_by,
        "at most": f"{one.limits.seconds:g} s, and {one.recovery_s:g} s to be well again",
        "service": str(configuration(one.env, one.workers)),
        "needs": ", ".join(one.needs),
    }
    return "\n".join([name, *(f"  {title:10} {text}" for title, text in rows.items())])
