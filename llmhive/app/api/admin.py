"""What all of `/api/admin/*` has in common: a key with scope `admin`, small strict bodies, a trace.

The key is looked at before the body is. Every call leaves one audit line, whatever its level
and however it ended: action, key, what it was about, status; users as digests.
Source: DESIGN.md, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from llmhive.app.accounts.model import Principal, Scope
from llmhive.app.api.identity import Identity
from llmhive.app.errors import CallerError, LLMHiveError
from llmhive.app.telemetry import log

# Ten times the largest body that is any use: a user with all of its fields.
BODY_BYTES_MAX: Final = 16_384
INVALID: Final = 422

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Body(BaseModel):
    """A body without surprises: no field but the named ones, no conversion, no infinities."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _ReadRequest(Request):
    """A request whose body has been read already."""

    def __init__(self, request: Request, body: bytes) -> None:
        super().__init__(request.scope, request.receive)
        self._read = body

    async def body(self) -> bytes:
        """Give the whole body."""
        return self._read


async def _bounded(request: Request) -> Request:
    """Read the body so far and no further.

    Raises: CallerError (413, definite).
    """
    read = bytearray()
    async for piece in request.stream():
        read += piece
        if len(read) > BODY_BYTES_MAX:
            raise CallerError(
                f"A body has at most {BODY_BYTES_MAX} bytes here.",
                code="body_too_large",
                http_status=413,
            )
    return _ReadRequest(request, bytes(read))


class AdminRoute(APIRoute):
    """A route for operators."""

    def get_route_handler(self) -> Handler:
        """The route's handler with the key checked before it and an audit line after it."""
        handle = super().get_route_handler()

        async def audited(request: Request) -> Response:
            status = 500
            try:
                identity: Identity = request.app.state.identity
                request.state.admin = await identity.of(request.scope, needs=Scope.ADMIN)
                response = await handle(await _bounded(request))
                status = response.status_code
            except LLMHiveError as error:
                status = error.http_status
                raise
            except HTTPException as error:
                status = error.status_code
                raise
            except RequestValidationError:
                status = INVALID
                raise
            finally:
                _audit(self, request, status)
            return response

        return audited


def _audit(route: APIRoute, request: Request, status: int) -> None:
    principal: Principal | None = getattr(request.state, "admin", None)
    about: dict[str, Any] = getattr(request.state, "about", {})
    log.announcement(
        "admin_call",
        action=route.name,
        method=request.method,
        route=route.path,
        key_id=principal.key_id if principal else None,
        status=status,
        **about,
    )


def concerns(request: Request, *, user: str | None = None, **about: str | int) -> None:
    """Say for the audit line what a call is about; a user's id becomes a digest."""
    told: dict[str, Any] = dict(about)
    if user is not None:
        told["subject"] = log.user_digest(user)
    request.state.about = told


def admin_router(prefix: str) -> APIRouter:
    """A router under `/api/admin` whose routes are for operators."""
    return APIRouter(
        prefix=f"/api/admin{prefix}",
        tags=["admin"],
        route_class=AdminRoute,
        # For the document only: the route itself has checked the key by then.
        dependencies=[Depends(HTTPBearer(auto_error=False))],
        responses={
            401: {"description": "No valid key."},
            403: {"description": "The key lacks the scope `admin`."},
            422: {"description": "A body or parameter that breaks a rule."},
        },
    )
