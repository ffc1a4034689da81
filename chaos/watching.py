"""What is looked at all along, beside the callers: health with its breakers, and a control.

The control is what depends on nothing: how long it takes says how busy the machine is, and
checkers judge nothing more finely than it. Judges nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from verification.checkers.streams import CONTROL
from verification.contract.http import HEALTH, LIVE
from verification.harness.waiting import Meanwhile, meanwhile
from verification.history import Outcome

if TYPE_CHECKING:
    from chaos.apparatus import Apparatus

HEALTH_SEEN: Final = "health"
BREAKER: Final = "breaker:"
# Often enough to see a breaker that rests for a second, seldom enough to leave the machine alone.
EVERY_S: Final = 0.15
WATCHER: Final = "watch"
# What does not answer by then, holds up nobody but the watcher.
WITHIN_S: Final = 5.0


def watch(apparatus: Apparatus) -> Meanwhile:
    """Look at health and the control until the context is left.

    Stores: Operations f="health" (status, breakers, redis, served_by) and f="control".
    """

    def look() -> None:
        _see_control(apparatus)
        _see_health(apparatus)

    return meanwhile(look, every_s=EVERY_S)


def _see_control(apparatus: Apparatus) -> None:
    answer = apparatus.target.http.get(LIVE.path, timeout_s=WITHIN_S)
    apparatus.history.add(
        process=WATCHER,
        f=CONTROL,
        outcome=Outcome.OK if answer.status else Outcome.FAIL,
        started_s=answer.sent_s,
        finished_s=answer.done_s,
        value={"status": answer.status, "error": answer.error, "served_by": answer.served_by},
    )


def _see_health(apparatus: Apparatus) -> None:
    answer = apparatus.target.http.get(HEALTH.path, timeout_s=WITHIN_S)
    body = answer.json()
    components = body.get("components", {}) if isinstance(body, dict) else {}
    states = {name: str(one.get("state")) for name, one in components.items()}
    apparatus.history.add(
        process=WATCHER,
        f=HEALTH_SEEN,
        outcome=Outcome.OK if components else Outcome.FAIL,
        started_s=answer.sent_s,
        finished_s=answer.done_s,
        value={
            "status": body.get("status") if isinstance(body, dict) else None,
            "error": answer.error,
            "breakers": {
                name.removeprefix(BREAKER): state
                for name, state in states.items()
                if name.startswith(BREAKER)
            },
            "others": {name: s for name, s in states.items() if not name.startswith(BREAKER)},
            "served_by": answer.served_by,
        },
    )
