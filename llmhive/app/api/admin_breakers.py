"""Breakers for operators: how they stand, forced open or closed, reset. Source: DESIGN.md, 3.3."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import Request
from pydantic import Field

from llmhive.app.api.admin import Body, admin_router, concerns
from llmhive.app.breakers.model import Forced
from llmhive.app.breakers.orders import REASON_LENGTH_MAX, OrderDesk, OrderFollower
from llmhive.app.breakers.service import BreakerService, BreakerView
from llmhive.app.errors import CallerError

router = admin_router("/breakers")


class Action(StrEnum):
    """What can be ordered."""

    FORCE_OPEN = "force_open"
    FORCE_CLOSE = "force_close"
    RESET = "reset"


FORCED: Final = {
    Action.FORCE_OPEN: Forced.OPEN,
    Action.FORCE_CLOSE: Forced.CLOSED,
    Action.RESET: Forced.NO,
}


class Ordered(Body):
    """An order to a breaker."""

    action: Annotated[str, Field(max_length=32)]
    reason: Annotated[str, Field(max_length=REASON_LENGTH_MAX)] = ""


@router.get("", summary="How every breaker stands")
async def list_breakers(request: Request) -> dict[str, Any]:
    """Give every breaker as this worker sees it, with the age of what is shared."""
    breakers: BreakerService = request.app.state.breakers
    return {"breakers": [_shown(view) for _, view in sorted(breakers.states().items())]}


@router.post("/{name:path}", summary="Force a breaker open or closed, or reset it")
async def order_breaker(request: Request, name: str, ordered: Ordered) -> dict[str, Any]:
    """Let every worker follow within 5 s, and this one at once."""
    concerns(request, breaker=name, order=ordered.action, reason=ordered.reason)
    if ordered.action not in set(Action):
        raise CallerError(
            f"action: expected {', '.join(Action)}.", code="invalid_request", http_status=422
        )
    state = request.app.state
    desk: OrderDesk = state.order_desk
    follower: OrderFollower = state.order_follower
    await desk.give(name, FORCED[Action(ordered.action)], ordered.reason)
    await follower.follow()
    breakers: BreakerService = state.breakers
    return _shown(breakers.states()[name])


def _shown(view: BreakerView) -> dict[str, Any]:
    return {
        "name": view.name,
        "state": view.state.value,
        "forced": view.forced.value or None,
        "reason": view.reason,
        "wait_s": round(view.wait_s, 3),
        "cool_down_s": round(view.cool_down_s, 3),
        "probes": view.probes,
        "in_state_s": round(view.in_state_s, 3),
        "age_s": round(view.age_s, 3),
    }
