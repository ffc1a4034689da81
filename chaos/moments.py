"""Moments beyond counting: what health, a breaker or a provider says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.experiment import Moment
from chaos.watching import HEALTH_SEEN
from verification.checkers.streams import slowest_control_s

if TYPE_CHECKING:
    from chaos.apparatus import Apparatus


def breaker_is(breaker: str, state: str, *, times: int = 1) -> Moment:
    """When health has said so often in this phase that a breaker is in that state."""

    def has_come(apparatus: Apparatus) -> bool:
        seen = [one.value["breakers"].get(breaker) for one in apparatus.in_this_phase(HEALTH_SEEN)]
        return seen.count(state) >= times

    return Moment(f"when health has said {times} times that {breaker} is {state}", has_come)


def asked_beyond(bound_s: float, count: int) -> Moment:
    """When so many chats were sent later than a bound, and the slowest control, after the healing.

    For what is promised from then on: only the clock can say when that is.
    """

    def has_come(apparatus: Apparatus) -> bool:
        from_s = apparatus.phase_began_s + bound_s + slowest_control_s(apparatus.history)
        return sum(one.started_s > from_s for one in apparatus.in_this_phase("chat")) >= count

    return Moment(f"when {count} chats were sent {bound_s:g} s after the healing", has_come)


def provider_has_calls(name: str, count: int) -> Moment:
    """When a provider has received so many calls, those before the fault included."""
    return Moment(
        f"when {name} has {count} calls in its journal",
        lambda apparatus: len(apparatus.target.provider(name).journal()) >= count,
    )
