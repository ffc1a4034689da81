"""Writes into a history what only the target can tell: journals, states, faults, what was said.

The bridge from the harness's values to the operations that checkers read; each checker's
docstring names the fields. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from verification.checkers import breaker_witnesses as breaker
from verification.checkers import faults_seen, leakage
from verification.checkers.leakage import Canary, Kind
from verification.checkers.streams import CONTROL
from verification.contract.breakers import COUNTED_STATUSES
from verification.harness import reach
from verification.harness.simulated import Call
from verification.harness.target import Target
from verification.harness.waiting import now_s
from verification.history import History, Operation, Outcome

OK: Final = 200
AUTHORIZATION: Final = "authorization"
# Flaws of an answer that every reader must count as a failure.
BROKEN_OFF: Final = frozenset({"cut", "omit_terminal", "error_event", "finish_reason"})


def record_attempts(
    history: History,
    provider: str,
    calls: Iterable[Call],
    *,
    has_timed_out: Callable[[Call], bool] = lambda _: False,
) -> list[Operation]:
    """A provider's journal as operations f "attempt".

    An attempt whose caller hung up, or that has not ended, may have counted as anything; one that
    `has_timed_out` for certain is a failure.
    """
    recorded = []
    for call in calls:
        result = breaker.FAILURE if has_timed_out(call) else _result(call)
        ended_s = call.hung_up_s or call.ended_s
        recorded.append(
            history.add(
                process=provider,
                f=breaker.ATTEMPT,
                value={
                    "provider": provider,
                    "result": result,
                    "status": call.status,
                    "first_byte_s": call.first_byte_s,
                },
                outcome=Outcome.INFO if result == breaker.UNKNOWN else Outcome.OK,
                started_s=call.arrived_s,
                finished_s=call.arrived_s if ended_s is None else max(ended_s, call.arrived_s),
                evidence=f"{provider} call {call.index}",
            )
        )
    return recorded


def _result(call: Call) -> str:
    if call.hung_up_s is not None or call.ended_s is None:
        return breaker.UNKNOWN
    if call.status in COUNTED_STATUSES or call.flaw in BROKEN_OFF:
        return breaker.FAILURE
    if call.flaw is not None or call.status is None:
        return breaker.UNKNOWN  # a body of the claim's own: who knows how it is read
    return breaker.SUCCESS if call.status == OK else breaker.NEUTRAL


def record_breaker(history: History, target: Target, name: str) -> str | None:
    """What health says of a breaker now (closed, half_open, open), as operation f "report".

    Takes: the breaker's name without the word breaker, such as "openai:gpt-4o:0".
    """
    answer = target.http.get("/api/health")
    body = answer.json()
    components = body.get("components", {}) if isinstance(body, dict) else {}
    state = components.get(f"breaker:{name}", {}).get("state")
    history.add(
        process=str(answer.served_by),
        f=breaker.REPORT,
        value={"breaker": name, "state": state, "served_by": answer.served_by},
        outcome=Outcome.OK if state else Outcome.INFO,
        started_s=answer.sent_s,
        finished_s=answer.done_s,
        evidence=answer.request_id,
    )
    return str(state) if state else None


def record_control(history: History, target: Target) -> None:
    """How long the service takes for what depends on nothing, as operation f "control"."""
    answer = target.http.get(reach.LIVE)
    history.add(
        process=str(answer.served_by),
        f=CONTROL,
        value={"status": answer.status},
        outcome=Outcome.OK,
        started_s=answer.sent_s,
        finished_s=answer.done_s,
        evidence=answer.request_id,
    )


def record_redis_faults(history: History, target: Target) -> list[Operation]:
    """The faults of this claim on the link to Redis, as operations f "fault".

    From the moment at which each was asked for until it was proven healed; one that is not
    healed yet lasts.
    """
    return [
        history.add(
            process="faults",
            f=faults_seen.FAULT,
            value={"kind": faults_seen.REDIS_AWAY, "fault": str(entry["fault"])},
            outcome=Outcome.OK if "healed_s" in entry else Outcome.INFO,
            started_s=float(str(entry["asked_s"])),
            finished_s=float(str(entry.get("healed_s", now_s()))),
        )
        for entry in target.faults.log
        if entry["link"] == "redis"
    ]


def record_emptied(history: History, target: Target) -> Operation:
    """Empty Redis, and record that as a fault."""
    began_s = now_s()
    target.redis.flush()
    return history.add(
        process="faults",
        f=faults_seen.FAULT,
        value={"kind": faults_seen.REDIS_EMPTIED},
        outcome=Outcome.OK,
        started_s=began_s,
        finished_s=now_s(),
    )


def record_said(history: History, target: Target) -> int:
    """Everything that left the service, as operations f "said"; gives how many.

    Channels: "answer:<user id>" (or "answer:nobody"), "health", "log", "metrics", "redis",
    "database", "provider:<name>", "stripe".
    """
    owners = {user.authorization: user.id for user in target.users}
    texts = [
        (
            f"answer:{owners.get(_authorization(answer.request.headers), 'nobody')}",
            f"{answer.headers.multi_items()}\n{answer.text}",
        )
        for answer in list(target.answers)
    ]
    texts += [
        (source, text)
        for source, text in target.everything_said().items()
        if not source.startswith("answer ")
    ]
    receivers = {f"provider:{name}": target.provider(name) for name in target.providers}
    texts += [
        (channel, f"{call.path}\n{call.headers}\n{call.text}")
        for channel, simulator in {**receivers, "stripe": target.stripe}.items()
        for call in simulator.journal()
    ]
    moment_s = now_s()
    for channel, text in texts:
        history.add(
            process="scan",
            f=leakage.SAID,
            value={"channel": channel, "text": text},
            outcome=Outcome.OK,
            started_s=moment_s,
            finished_s=moment_s,
        )
    return len(texts)


def _authorization(headers: Iterable[tuple[str, str]]) -> str:
    found = {name.lower(): value for name, value in headers}
    return found.get(AUTHORIZATION, "")


def secret_canaries(target: Target) -> list[Canary]:
    """A canary for every secret that the service was given or gave out.

    A provider's key may stand in what that provider received, Stripe's in what Stripe did, a
    user's key nowhere.
    """
    at_home = {f"{name.upper()}_API_KEY": (f"provider:{name}",) for name in target.providers}
    at_home["STRIPE_SECRET_KEY"] = ("stripe",)
    return [
        Canary(name, secret, Kind.SECRET, at_home.get(name, ()))
        for name, secret in target.canaries.items()
    ]
