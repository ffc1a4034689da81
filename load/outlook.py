"""What a run will send, cost and be able to say: printed before anything goes out. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from load.gate import Outlook, Target, outlook, share_allowed
from load.plan import LEAD_S, Plan
from load.profile_file import Profile
from load.schedule import Traffic, arrivals
from verification.contract.load import LoadTargets


def due_requests(traffic: Traffic) -> dict[str, int]:
    """How many requests of each kind the schedule holds: exact, since it is seeded."""
    found: dict[str, int] = {}
    for arrival in arrivals(traffic):
        found[arrival.kind] = found.get(arrival.kind, 0) + 1
    return found


def lines(profile: Profile, plan: Plan, targets: LoadTargets) -> Iterator[str]:
    """What to say before the start."""
    due = due_requests(plan.traffic)
    mixed = ", ".join(f"{count} {kind}" for kind, count in sorted(due.items()))
    yield f"profile {profile.name}: {profile.text}"
    yield (
        f"{sum(due.values())} requests ({mixed}) in {duration(plan.traffic.duration_s)}, the first "
        f"{duration(plan.warm_up_s)} warm-up; seed {plan.traffic.seed}; at the latest over after "
        f"{duration(LEAD_S + plan.over_s)}"
    )
    every: tuple[Target, ...] = (*targets.latency, *targets.errors)
    for target in every:
        told = outlook(target, plan.traffic, plan.warm_up_s)
        yield f"  {target.id:18} {_told(told)}"


def _told(told: Outlook | None) -> str:
    if told is None:
        return "nothing of this kind is sent: unverified"
    needs = f"{told.needed} samples needed, {told.expected:.0f} expected"
    if told.late_allowed < 0:
        return f"{needs}: this run is too short to pass, {duration(told.seconds_needed)} needed"
    most = share_allowed(told.target)
    return (
        f"{needs}: an answer after {duration(told.seconds_needed)} at the earliest; "
        f"a pass of {most:.0%} may have {told.late_allowed} late"
    )


def duration(seconds: float) -> str:
    """Seconds as people say them: 0.4 s, 12 s, 2 min 05 s."""
    if seconds < 10:  # noqa: PLR2004  below it a tenth matters
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"  # noqa: PLR2004
