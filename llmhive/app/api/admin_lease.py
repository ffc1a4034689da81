"""The lease of a verification run: one at a time. Source: DESIGN.md, section 4."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request
from pydantic import Field

from llmhive.app.accounts.administration import TAG
from llmhive.app.accounts.run_lease import TTL_S_MAX, TTL_S_MIN, RunLease, RunLeases
from llmhive.app.api.admin import Body, admin_router, concerns

router = admin_router("/run-lease")

Seconds = Annotated[int, Field(ge=int(TTL_S_MIN), le=int(TTL_S_MAX))]


class Wanted(Body):
    """Who wants to run, and for how long before they speak again."""

    holder: Annotated[str, Field(min_length=1, max_length=128)]
    run: Annotated[str, Field(pattern=f"^{TAG.pattern}$")]
    ttl_s: Seconds


class Prolonged(Body):
    """For how long from now."""

    ttl_s: Seconds


@router.get("", summary="Which run holds the lease")
async def read_lease(request: Request) -> dict[str, Any]:
    """Give the lease that stands, without its id; `lease` is null when none does."""
    leases = _leases(request)
    found = await leases.current()
    return {"lease": _shown(leases, found) if found else None}


@router.post("", status_code=201, summary="Take the lease, for one run at a time")
async def take_lease(request: Request, wanted: Wanted) -> dict[str, Any]:
    """Take it if nobody holds it; tell whose expired one was taken over."""
    concerns(request, run=wanted.run, holder=wanted.holder)
    leases = _leases(request)
    acquired = await leases.acquire(holder=wanted.holder, run=wanted.run, ttl_s=wanted.ttl_s)
    before = acquired.took_over
    return {
        "lease_id": acquired.lease.lease_id,
        **_shown(leases, acquired.lease),
        "took_over": {"holder": before.holder, "run": before.run} if before else None,
    }


@router.put("/{lease_id}", summary="Hold the lease for longer")
async def renew_lease(request: Request, lease_id: str, prolonged: Prolonged) -> dict[str, Any]:
    """Hold it from now on for so long; 409 when it has ended."""
    leases = _leases(request)
    renewed = await leases.renew(lease_id, ttl_s=prolonged.ttl_s)
    concerns(request, run=renewed.run)
    return _shown(leases, renewed)


@router.delete("/{lease_id}", summary="Give the lease back")
async def release_lease(request: Request, lease_id: str) -> dict[str, Any]:
    """Give it back; 409 when it has ended."""
    await _leases(request).release(lease_id)
    return {"released": True}


def _leases(request: Request) -> RunLeases:
    leases: RunLeases = request.app.state.run_leases
    return leases


def _shown(leases: RunLeases, lease: RunLease) -> dict[str, Any]:
    return {
        "holder": lease.holder,
        "run": lease.run,
        "expires_in_s": round(leases.remaining_s(lease), 3),
    }
