"""Billing over HTTP: Stripe's deliveries, and what a user may read of their own.

Deliveries are believed by their signature, so they need no key and no limiter; their body is
bounded before it is buffered, and so is the time for it. Source: DESIGN.md, sections 3.1 and 3.6.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.requests import ClientDisconnect

from llmhive.app.api.identity import Caller
from llmhive.app.billing.model import DeliveryRejectedError, Rejection, SubscriptionState
from llmhive.app.billing.service import BillingService
from llmhive.app.errors import BodyLateError

router = APIRouter(prefix="/api/billing", tags=["billing"])

SIGNATURE: Final = b"stripe-signature"
ROWS_MAX: Final = 1000
ROWS_SKIPPED_MAX: Final = 1_000_000


def _billing(request: Request) -> BillingService:
    service: BillingService = request.app.state.billing
    return service


@router.post("/webhooks/", include_in_schema=False)
@router.post("/webhooks", summary="Take a delivery of Stripe's, believed by its signature")
async def take_delivery(request: Request) -> dict[str, str]:
    """Acknowledge what is done; anything else is to be delivered again."""
    billing = _billing(request)
    try:
        body = await _read_body(request, request.app.state.webhook_body_bytes_max)
    except DeliveryRejectedError as error:
        billing.reject(error.reason)
        raise
    except BodyLateError:
        billing.reject(Rejection.CUT_OFF)
        raise
    outcome = await billing.take(body, _signature(request))
    return {"outcome": outcome.value}


def _signature(request: Request) -> bytes | None:
    """The header's bytes as they came; several of them are one, as HTTP has it."""
    found = [value for name, value in request.scope["headers"] if name == SIGNATURE]
    return b",".join(found) if found else None


async def _read_body(request: Request, bytes_max: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:19]) > bytes_max:
        raise _too_large()
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > bytes_max:
                raise _too_large()
    except ClientDisconnect as error:
        raise DeliveryRejectedError(Rejection.CUT_OFF) from error
    return bytes(body)


def _too_large() -> DeliveryRejectedError:
    return DeliveryRejectedError(Rejection.TOO_LARGE, code="body_too_large", http_status=413)


@router.get("/subscription", summary="What the caller is entitled to")
async def read_subscription(request: Request, caller: Caller) -> dict[str, Any]:
    """Tell the caller's tier, and each of their subscriptions."""
    billing = _billing(request)
    account, now = await billing.account(caller.user_id), billing.now()
    foremost = account.foremost(now)
    return {
        "user": account.user_id,
        "tier": account.tier(now),
        "status": foremost.status if foremost else None,
        "entitled": bool(foremost and foremost.is_entitled(now)),
        "subscriptions": [_shown(one, now) for one in account.subscriptions],
    }


@router.get("/ledger", summary="Every effect of the caller's billing events")
async def read_ledger(
    request: Request,
    caller: Caller,
    limit: Annotated[int, Query(ge=1, le=ROWS_MAX)] = 100,
    offset: Annotated[int, Query(ge=0, le=ROWS_SKIPPED_MAX)] = 0,
) -> dict[str, Any]:
    """Tell the rows, the oldest event first."""
    rows = await _billing(request).ledger(caller.user_id, at_most=limit, skip=offset)
    return {
        "entries": [
            {
                "event": row.event,
                "invoice": row.invoice,
                "kind": row.kind,
                "amount": row.amount,
                "currency": row.currency,
                "created": row.created,
            }
            for row in rows
        ]
    }


def _shown(state: SubscriptionState, now: float) -> dict[str, Any]:
    return {
        "id": state.subscription_id,
        "status": state.status,
        "tier": state.tier,
        "entitled": state.is_entitled(now),
        "current_period_end": state.current_period_end,
        "cancel_at_period_end": state.cancel_at_period_end,
        "grace_ends": state.grace_ends,
    }
