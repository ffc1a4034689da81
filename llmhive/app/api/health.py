"""Health, liveness and readiness: answered from what is known, waiting for nobody.

Source: DESIGN.md, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from llmhive.app.errors import CapacityError
from llmhive.app.telemetry.health import HealthBoard, Status
from llmhive.app.telemetry.request_record import record_of

router = APIRouter(prefix="/api/health", tags=["health"])


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What this process is."""

    instance: str
    environment: str
    version: str
    served_by: str


def _board(request: Request) -> HealthBoard:
    board: HealthBoard = request.app.state.board
    return board


@router.head("", include_in_schema=False)  # balancers ask by either
@router.get("", summary="How the service and its components stand")
async def health(request: Request) -> Response:
    """Tell status, components with state and age of the last real check, and what this is."""
    board, facts = _board(request), request.app.state.facts
    components = board.components()
    status = board.status(components)
    told: dict[str, Any] = {
        "status": status,
        "instance": facts.instance,
        "environment": facts.environment,
        "version": facts.version,
        "components": {
            name: {
                "state": component.state,
                "age_s": None if component.age_s is None else round(component.age_s, 3),
            }
            for name, component in sorted(components.items())
        },
    }
    if status is not Status.UNAVAILABLE:
        return JSONResponse(told)
    record_of(request.scope).error_code = "unavailable"
    return JSONResponse(told, 503, headers={"Retry-After": "1"})


@router.head("/live", include_in_schema=False)
@router.get("/live", summary="Whether this process runs")
async def live() -> dict[str, str]:
    """Depend on nothing."""
    return {"status": "live"}


@router.head("/ready", include_in_schema=False)
@router.get("/ready", summary="Whether requests should be sent here")
async def ready(request: Request) -> dict[str, str]:
    """Need a migrated and writable database and a provider, and no SIGTERM so far."""
    board = _board(request)
    if board.is_draining:
        raise CapacityError("This process is about to end.", code="draining", retry_after_s=1)
    if not board.is_ready():
        raise CapacityError("Not ready to serve.", code="not_ready", retry_after_s=1)
    return {"status": "ready"}
