"""Limits of single users for operators. Source: DESIGN.md, section 3.2."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request
from pydantic import Field

from llmhive.app.api.admin import Body, admin_router, concerns
from llmhive.app.limits.overrides import (
    LASTS_S_MAX,
    REQUESTS_PER_MIN_MAX,
    LimitOverrides,
    Override,
)

router = admin_router("/limits")


class Granted(Body):
    """What an operator grants a user, and for how long."""

    requests_per_min: Annotated[int, Field(ge=0, le=REQUESTS_PER_MIN_MAX)]
    for_s: Annotated[int, Field(ge=1, le=int(LASTS_S_MAX))]


@router.get("", summary="Every override that stands")
async def list_overrides(request: Request) -> dict[str, Any]:
    """Give every override that has not ended."""
    return {"overrides": [_shown(each) for each in await _overrides(request).standing()]}


@router.put("/{user:path}", summary="Grant a user so many requests per minute for a while")
async def put_override(request: Request, user: str, granted: Granted) -> dict[str, Any]:
    """Let it hold on every worker within 5 s, and on this one at once."""
    concerns(request, user=user, requests_per_min=granted.requests_per_min, lasts_s=granted.for_s)
    overrides = _overrides(request)
    kept = await overrides.put(
        user, requests_per_min=granted.requests_per_min, lasts_s=granted.for_s
    )
    await overrides.follow()
    return _shown(kept)


@router.delete("/{user:path}", summary="Give a user back to the tier's limits")
async def remove_override(request: Request, user: str) -> dict[str, Any]:
    """Let the tier hold again on every worker within 5 s."""
    concerns(request, user=user)
    overrides = _overrides(request)
    await overrides.remove(user)
    await overrides.follow()
    return {"removed": user}


def _overrides(request: Request) -> LimitOverrides:
    overrides: LimitOverrides = request.app.state.overrides
    return overrides


def _shown(override: Override) -> dict[str, Any]:
    return {
        "user": override.user,
        "requests_per_min": override.requests_per_min,
        "ends_at": override.ends_at,
    }
