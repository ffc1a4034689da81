"""One breaker as these claims drive it: opened by a failing provider, watched from outside."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from verification.contract.metrics import CIRCUIT_STATES
from verification.harness import records
from verification.harness.waiting import Meanwhile, eventually, meanwhile, together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verification.harness.chat_result import ChatResult
    from verification.harness.simulated import Call
    from verification.harness.target import Target
    from verification.harness.users import User
    from verification.history import History

PROVIDER: Final = "openai"
BREAKER: Final = "openai:gpt-4o:0"
TRANSITIONS: Final = "llmhive_circuit_transitions_total"
CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half_open"
# BREAKER_OPEN_S of a stack as usual; its rest grows no longer than the second.
OPEN_S: Final = 1.0
OPEN_MAX_S: Final = 4.0
# After healing: the longest rest, three probes one after the other, a machine that is busy.
RECOVERS_WITHIN_S: Final = 15.0
OPENS_WITHIN_S: Final = 15.0
# Workers look every half second.
SHOWN_WITHIN_S: Final = 3.0


def state(target: Target) -> str:
    """What one worker says of the breaker now."""
    return str(target.component(f"breaker:{BREAKER}").get("state"))


def parents_state(target: Target) -> str:
    """What one worker says of the breaker that stands for all connections to the provider."""
    return str(target.component(f"breaker:{PROVIDER}").get("state"))


def states(target: Target) -> set[str]:
    """What the workers say of the breaker, each of them for itself.

    Raises: WorkerNotReachedError when not every worker answers.
    """
    answers = target.each_workers("/api/health")
    return {
        str(answer.json()["components"].get(f"breaker:{BREAKER}", {}).get("state"))
        for answer in answers.values()
    }


def look(target: Target, history: History) -> None:
    """Write what health says of the breaker now, and a control."""
    records.record_breaker(history, target, BREAKER)
    records.record_control(history, target)


def watched(target: Target, history: History) -> Meanwhile:
    """Look again and again while the context lasts."""
    return meanwhile(lambda: look(target, history), every_s=0.05)


def shown(target: Target, word: str) -> float | None:
    """The gauge of the breaker once it shows that state, which takes a look of the workers'."""
    return eventually(
        lambda: target.metrics().value("llmhive_circuit_state", service=BREAKER),
        until=lambda value: value == CIRCUIT_STATES[word],
        within_s=SHOWN_WITHIN_S,
        claim=f"the metrics show that the breaker is {word}",
    )


def most_at_once(calls: Sequence[Call]) -> int:
    """How many of the calls were at the provider at one moment, at most."""
    moments = [(call.arrived_s, 1) for call in calls]
    moments += [(end, -1) for call in calls if (end := call.hung_up_s or call.ended_s)]
    return max(itertools.accumulate(step for _, step in sorted(moments)), default=0)


def asked(target: Target, user: User, count: int = 4) -> list[ChatResult]:
    """So many callers at once; the other provider answers for the one that fails."""
    return together(count, lambda: target.chat(user, "hello"))


def opened(target: Target, user: User) -> None:
    """Ask the failing provider until every worker says that its breaker is open."""
    eventually(
        lambda: (asked(target, user), states(target))[1],
        until=lambda seen: seen == {OPEN},
        within_s=OPENS_WITHIN_S,
        claim="the breaker of a failing provider opens on every worker",
    )


def recovered(target: Target, user: User) -> None:
    """Ask the healthy provider until every worker says that its breaker is closed."""
    eventually(
        lambda: (asked(target, user), states(target))[1],
        until=lambda seen: seen == {CLOSED},
        within_s=RECOVERS_WITHIN_S,
        claim="the breaker of a healthy provider closes on every worker",
        every_s=0.2,  # who waits long must not use up a limit
    )
