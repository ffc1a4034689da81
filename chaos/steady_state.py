"""The steady state: what is so when nothing is broken, looked at before and after every fault.

A probe gives what is wrong, in words, and nothing when it is well. Judges nothing: the runner
records what was seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from verification.harness import capabilities as can
from verification.harness.reach import WorkerNotReachedError
from verification.harness.waiting import came_true, now_s
from verification.history import Outcome

if TYPE_CHECKING:
    from chaos.apparatus import Apparatus
    from chaos.experiment import Phase

STEADY: Final = "steady"
SAYS: Final = (
    "health says ok, with every component up and every breaker closed; every worker answers; "
    "a chat is whole, plain and streamed; no link has a fault"
)
# A service that was just started or restarted is well within this.
BEFORE_WITHIN_S: Final = 10.0
# The tier whose limit no experiment reaches.
TIER: Final = "enterprise"


def what_is_wrong(apparatus: Apparatus) -> str:
    """The first thing that is not as it should be; empty when the state is steady."""
    for probe in (_links, _health, _workers, _chat):
        if wrong := probe(apparatus):
            return wrong
    return ""


def _links(apparatus: Apparatus) -> str:
    target = apparatus.target
    if can.PROXY not in target.capabilities:
        return ""
    left = target.faults.left_over()
    return f"faults are left on {', '.join(left)}" if left else ""


def _health(apparatus: Apparatus) -> str:
    health = apparatus.target.health()
    if health.get("status") == "ok":
        return ""
    ill = {
        name: component.get("state")
        for name, component in health.get("components", {}).items()
        if component.get("state") not in {"up", "closed", "not_configured"}
    }
    return f"health says {health.get('status', 'nothing')}: {ill}"


def _workers(apparatus: Apparatus) -> str:
    try:
        apparatus.target.reach_all_workers(within_s=2.0)
    except WorkerNotReachedError as error:
        return str(error)
    return ""


def _chat(apparatus: Apparatus) -> str:
    if can.USERS not in apparatus.target.capabilities:
        return ""
    user = apparatus.users(TIER, 1)[0]
    for stream in (False, True):
        result = apparatus.target.chat(user, "Are you well?", stream=stream)
        if not result.is_whole:
            return f"a chat is not whole: {result.answer}"
    return ""


def await_steady(apparatus: Apparatus, phase: Phase, within_s: float) -> bool:
    """Wait for the steady state, and write down whether and when it was there.

    Stores: Operation f="steady", from the beginning of the wait; value: phase, wrong, within_s.
    """
    since_s = now_s()
    seen: list[str] = []

    def is_steady() -> bool:
        seen[:] = [what_is_wrong(apparatus)]
        return not seen[0]

    is_there = came_true(is_steady, within_s=within_s, every_s=0.1)
    apparatus.note(
        STEADY,
        process="runner",
        since_s=since_s,
        outcome=Outcome.OK if is_there else Outcome.FAIL,
        phase=phase.value,
        wrong=seen[0],
        within_s=within_s,
    )
    return is_there
