"""Who asks: the one place where a request's key is read.

Whatever is presented as a credential is masked in everything that this request writes.
The identity comes from the key alone, never from another header or the body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request

from llmhive.app.accounts.model import Principal, Scope
from llmhive.app.safety.masking import PRESENTED
from llmhive.app.telemetry.request_record import record_of

Authenticate = Callable[[str | None], Awaitable[Principal]]


def authorization_of(scope: Any) -> str | None:
    """The `Authorization` field of an ASGI request, None without one.

    Two of them are as good as a wrong one: which is meant nobody knows.
    """
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    if not found:
        return None
    return str(b", ".join(found).decode("latin-1"))


class Identity:
    """Authenticates ASGI requests, and notes who asked for the log."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    async def of(self, scope: Any, *, needs: Scope | None = None) -> Principal:
        """Say who presents this request's key.

        Raises: KeyRefusedError (401), CallerError (403), CapacityError (503).
        """
        authorization = authorization_of(scope)
        if authorization:
            PRESENTED.set(tuple({authorization, *authorization.split()[-1:]}))
        principal = await self._authenticate(authorization)
        record_of(scope).user_id = principal.user_id
        if needs is not None:
            principal.require(needs)
        return principal


async def _caller(request: Request) -> Principal:
    identity: Identity = request.app.state.identity
    return await identity.of(request.scope)


Caller = Annotated[Principal, Depends(_caller)]
"""A parameter of this type makes a FastAPI route need a valid key."""
