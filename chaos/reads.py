"""Final reads: what has come to be when all is healed, as operations that checkers read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from chaos.experiment import Read
from chaos.nemeses.providers import PROBE
from chaos.watching import HEALTH_SEEN
from verification.checkers.breaker_witnesses import REPORT
from verification.checkers.leaving import PLACES
from verification.checkers.stopping import CALL
from verification.contract.bounds import bounds
from verification.contract.redis_keys import in_flight_key
from verification.harness import capabilities as can
from verification.harness import records
from verification.harness.waiting import came_true, now_s
from verification.history import Outcome

if TYPE_CHECKING:
    from chaos.apparatus import Apparatus
    from verification.harness.simulated import Call

READER: Final = "reader"
# A time-out of the service is a hair shorter on the provider's clock: the call was under way.
UNDER_WAY_S: Final = 0.2


def own_calls(apparatus: Apparatus, name: str) -> list[Call]:
    """The calls of a provider's journal that the service made: no probe of ours."""
    calls = apparatus.target.provider(name).journal()
    return [call for call in calls if PROBE not in call.text]


def message_of(body: Any) -> str | None:
    """The last message of a provider's call, as text."""
    messages = body.get("messages") if isinstance(body, Mapping) else None
    content = messages[-1].get("content") if messages else None
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return content if isinstance(content, str) else None


def provider_calls(name: str) -> Read:
    """What a provider was asked, as operations f "call": message, status, hung_up_s."""

    def take(apparatus: Apparatus) -> None:
        for call in own_calls(apparatus, name):
            ended_s = call.hung_up_s or call.ended_s
            apparatus.history.add(
                process=name,
                f=CALL,
                value={
                    "message": message_of(call.body),
                    "status": call.status,
                    "hung_up_s": call.hung_up_s,
                    "is_over": ended_s is not None,
                },
                outcome=Outcome.OK if ended_s is not None else Outcome.INFO,
                started_s=call.arrived_s,
                finished_s=max(call.arrived_s, ended_s or now_s()),
                evidence=f"{name} call {call.index}",
            )

    return Read(says=f"the calls that {name} received", needs=(can.SCRIPT,), take=take)


def breaker_attempts(name: str, timeout_s: float) -> Read:
    """A provider's journal as the attempts that its breaker counts.

    A call that the service hung up no sooner than its time-out, though its caller stayed for the
    answer, has timed out for certain; without that knowledge it may have counted as anything.
    """

    def take(apparatus: Apparatus) -> None:
        answered = {
            one.value.get("message")
            for one in apparatus.history.of("chat")
            if one.value.get("error") is None
        }

        def has_timed_out(call: Call) -> bool:
            return (
                call.hung_up_s is not None
                and call.hung_up_s - call.arrived_s >= timeout_s - UNDER_WAY_S
                and message_of(call.body) in answered
            )

        calls = own_calls(apparatus, name)
        records.record_attempts(apparatus.history, name, calls, has_timed_out=has_timed_out)

    return Read(says=f"the attempts that {name} received", needs=(can.SCRIPT,), take=take)


def breaker_reports(breaker: str) -> Read:
    """What health said of a breaker all along, as the reports that checkers read."""

    def take(apparatus: Apparatus) -> None:
        for one in apparatus.history.of(HEALTH_SEEN):
            state = one.value["breakers"].get(breaker)
            apparatus.history.add(
                process=str(one.value.get("served_by")),
                f=REPORT,
                value={"breaker": breaker, "state": state, "served_by": one.value["served_by"]},
                outcome=Outcome.OK if state else Outcome.INFO,
                started_s=one.started_s,
                finished_s=one.finished_s,
            )

    return Read(says=f"what health said of {breaker}", needs=(), take=take)


def places_in_flight() -> Read:
    """How many places each user holds when nobody asks any more, as operations f "places"."""

    def take(apparatus: Apparatus) -> None:
        redis, users = apparatus.target.redis, apparatus.target.users
        since_s = now_s()
        within_s = bounds().caller_left_within_s + SETTLED_S
        came_true(
            lambda: not any(redis.zset(in_flight_key(user.id)) for user in users),
            within_s=within_s,
        )
        for user in users:
            held = len(redis.zset(in_flight_key(user.id)))
            apparatus.note(PLACES, process=READER, since_s=since_s, user=user.id, held=held)

    return Read(says="the places in flight that are held", needs=(can.REDIS_READ,), take=take)


# Redis answers settlements behind the answers themselves, on a busy machine late.
SETTLED_S: Final = 4.0
