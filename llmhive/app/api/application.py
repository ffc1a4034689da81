"""The routes as one ASGI app: FastAPI for the ordinary ones, thin apps for the hot ones.

Both stand in one OpenAPI document. Every error of a route leaves as a problem document.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp

from llmhive.app.api import health, metrics
from llmhive.app.api.health import ServiceFacts
from llmhive.app.api.identity import Caller, Identity
from llmhive.app.api.problem import send_problem
from llmhive.app.errors import CallerError, LLMHiveError
from llmhive.app.telemetry.health import HealthBoard
from llmhive.app.telemetry.request_record import record_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# What FastAPI and Starlette refuse by themselves: status -> our code.
CODES = {
    400: "malformed_json",
    401: "invalid_api_key",
    403: "insufficient_scope",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
}
OPENAPI_PATH = "/api/openapi.json"


@dataclass(frozen=True, slots=True)
class ThinRoute:
    """A hot route: one path, one method, served without FastAPI; `operation` is its OpenAPI."""

    path: str
    method: str
    app: App
    operation: Mapping[str, Any] = field(default_factory=dict)
    schemas: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the routes serve from."""

    facts: ServiceFacts
    board: HealthBoard
    identity: Identity
    metrics_token: str = ""
    thin: Sequence[ThinRoute] = ()
    routers: Sequence[APIRouter] = ()
    state: Mapping[str, Any] = field(default_factory=dict)
    is_production: bool = False


class _Ordinary(FastAPI):
    """FastAPI without the layer that answers unexpected errors: the outermost of ours does."""

    def build_middleware_stack(self) -> ASGIApp:
        stack = super().build_middleware_stack()
        return stack.app if isinstance(stack, ServerErrorMiddleware) else stack


class Application:
    """All routes."""

    def __init__(self, parts: ApiParts) -> None:
        self.ordinary = _ordinary(parts)
        self._thin = {route.path: route for route in parts.thin}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route = self._thin.get(scope["path"])
        if route is None:
            await self.ordinary(scope, receive, send)
            found = scope.get("route")
            record_of(scope).route = getattr(found, "path", "unmatched") or "unmatched"
            return
        record_of(scope).route = route.path
        if scope["method"] == route.method:
            await route.app(scope, receive, send)
            return
        refusal = CallerError(
            f"Only {route.method} is served here.", code="method_not_allowed", http_status=405
        )
        await send_problem(scope, send, refusal, headers=[(b"allow", route.method.encode())])


def _ordinary(parts: ApiParts) -> FastAPI:
    app = _Ordinary(
        title="LLMHive",
        version=parts.facts.version,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.board, app.state.facts = parts.board, parts.facts
    app.state.identity, app.state.metrics_token = parts.identity, parts.metrics_token
    for name, value in parts.state.items():
        setattr(app.state, name, value)
    for router in (health.router, metrics.router, *parts.routers):
        app.include_router(router)
    app.add_exception_handler(LLMHiveError, _Problem(_as_it_is))
    app.add_exception_handler(RequestValidationError, _Problem(_invalid))
    app.add_exception_handler(HTTPException, _Problem(_refused))
    _describe(app, parts)
    return app


def _describe(app: FastAPI, parts: ApiParts) -> None:
    """Serve the OpenAPI document; in production to callers with a key only."""

    def document() -> dict[str, Any]:
        told = app.openapi()
        for route in parts.thin:
            told["paths"][route.path] = {route.method.lower(): dict(route.operation)}
            told.setdefault("components", {}).setdefault("schemas", {}).update(route.schemas)
        return told

    if parts.is_production:

        @app.get(OPENAPI_PATH, include_in_schema=False)
        async def known_callers_document(_caller: Caller) -> dict[str, Any]:
            return document()

    else:

        @app.get(OPENAPI_PATH, include_in_schema=False)
        async def open_document() -> dict[str, Any]:
            return document()


class _Problem:
    """An exception handler and at once the response that it gives."""

    def __init__(self, translate: Callable[[Any], LLMHiveError]) -> None:
        self._translate = translate

    async def __call__(self, _request: Request, error: Exception) -> Any:
        translated = self._translate(error)
        allow = (getattr(error, "headers", None) or {}).get("Allow")
        headers = [(b"allow", allow.encode())] if allow else []

        async def respond(scope: Scope, _receive: Receive, send: Send) -> None:
            await send_problem(scope, send, translated, headers=headers)

        return respond


def _as_it_is(error: LLMHiveError) -> LLMHiveError:
    return error


def _invalid(error: RequestValidationError) -> LLMHiveError:
    """Say where and what kind, never what was sent."""
    if any(each["type"] == "json_invalid" for each in error.errors()):
        return CallerError("The body is no JSON.", code="malformed_json")
    places = {".".join(str(part) for part in each["loc"][:1]) for each in error.errors()}
    kinds = {str(each["type"]) for each in error.errors()}
    detail = f"Invalid: {', '.join(sorted(places))} ({', '.join(sorted(kinds))})."
    return CallerError(detail, code="invalid_request", http_status=422)


def _refused(error: HTTPException) -> LLMHiveError:
    code = CODES.get(error.status_code)
    if code is None or error.status_code >= 500:  # noqa: PLR2004
        return LLMHiveError(http_status=error.status_code)
    told = {404: "There is nothing here.", 405: "This method is not served here."}
    return CallerError(told.get(error.status_code), code=code, http_status=error.status_code)
