"""What every answer has, whoever gives it and however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Request
from pydantic import BaseModel

from llmhive.app.accounts.model import KeyRefusedError, Principal
from llmhive.app.api.application import ApiParts, Application, Message, ThinRoute
from llmhive.app.api.health import ServiceFacts
from llmhive.app.api.identity import Caller, Identity
from llmhive.app.api.middleware.cors import Cors
from llmhive.app.api.middleware.exchange import ExchangeMiddleware
from llmhive.app.api.refusals import ProblemRefusals
from llmhive.app.errors import CapacityError
from llmhive.app.telemetry import metrics
from llmhive.app.telemetry.health import HealthBoard, State
from llmhive.app.telemetry.request_record import record_of
from llmhive.tests.fakes import FakeClock, let_others_run

Events = list[dict[str, Any]]
ORIGIN = "https://app.example.com"
PATHS = ("/api/health/live", "/nowhere", "/breaks", "/busy", "/thin", "/whoami")
router = APIRouter()


class Named(BaseModel):
    """A body that FastAPI checks."""

    name: str
    count: int


@router.get("/breaks")
async def breaks() -> None:
    """An unexpected error, with a canary in its words."""
    raise RuntimeError("canary-of-an-error")


@router.get("/busy")
async def busy() -> None:
    """An error of ours."""
    raise CapacityError("Come again.", code="limiter_busy", retry_after_s=2)


@router.post("/named")
async def named(body: Named) -> str:
    """A checked body."""
    return body.name


@router.post("/read")
async def read(request: Request) -> int:
    """A body as it comes."""
    return len(await request.body())


@router.get("/whoami")
async def whoami(caller: Caller) -> str:
    """Somebody with a key."""
    return caller.user_id


async def thin(scope: Any, receive: Any, send: Any) -> None:
    """A stream of three parts."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for part in range(3):
        scope["clock"].advance(1.0)
        await send({"type": "http.response.body", "body": b"%d" % part, "more_body": part < 2})


async def authenticate(authorization: str | None) -> Principal:
    """One good key."""
    if authorization != "Bearer good":
        raise KeyRefusedError
    return Principal("ann@example.com", "free", frozenset({"chat"}), "key_1")


@pytest.fixture
def board(clock: FakeClock) -> HealthBoard:
    found = HealthBoard(clock=clock)
    found.has_provider = True
    found.saw("database", State.UP, believed_for_s=10.0)
    found.saw("provider:openai", State.UP, believed_for_s=10.0)
    return found


@pytest.fixture
def routes(clock: FakeClock, board: HealthBoard) -> Application:
    async def timed(scope: Any, receive: Any, send: Any) -> None:
        scope["clock"] = clock
        await thin(scope, receive, send)

    parts = ApiParts(
        facts=ServiceFacts("here", "development", "1", "here/host-1"),
        board=board,
        identity=Identity(authenticate),
        thin=[ThinRoute("/thin", "GET", timed, operation={"summary": "thin"})],
        routers=[router],
    )
    return Application(parts)


@pytest.fixture
def app(routes: Application, clock: FakeClock, board: HealthBoard) -> ExchangeMiddleware:
    cors = Cors([ORIGIN])
    return ExchangeMiddleware(routes, served_by="here/host-1", cors=cors, board=board, clock=clock)


@pytest.fixture
async def client(app: ExchangeMiddleware) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as opened:
        yield opened


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_has_its_id_its_worker_and_the_security_headers(
    client: httpx.AsyncClient, path: str
) -> None:
    headers = (await client.get(path)).headers

    assert headers["x-request-id"].startswith("req_")
    assert headers["x-served-by"] == "here/host-1"
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


@pytest.mark.parametrize("path", PATHS)
async def test_listed_origins_may_read_every_answer_and_caches_know(
    client: httpx.AsyncClient, path: str
) -> None:
    listed = (await client.get(path, headers={"origin": ORIGIN})).headers
    other = (await client.get(path, headers={"origin": "https://evil.example"})).headers

    assert listed["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-origin" not in other
    assert listed["vary"] == other["vary"] == "Origin"


async def test_a_preflight_needs_no_key(client: httpx.AsyncClient) -> None:
    asked = {"origin": ORIGIN, "access-control-request-method": "POST"}

    answer = await client.options("/whoami", headers=asked)

    assert answer.status_code == 204
    assert "Authorization" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/health/", 404, "not_found"),
        ("DELETE", "/api/health/live", 405, "method_not_allowed"),
        ("POST", "/thin", 405, "method_not_allowed"),
        ("GET", "/whoami", 401, "invalid_api_key"),
        ("GET", "/busy", 503, "limiter_busy"),
        ("GET", "/breaks", 500, "internal_error"),
    ],
)
async def test_every_error_is_a_problem_document(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path)

    told = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, told["status"], told["code"]) == (status, status, code)
    assert told["request_id"] == answer.headers["x-request-id"]


async def test_what_is_busy_says_when_to_come_again(client: httpx.AsyncClient) -> None:
    assert (await client.get("/busy")).headers["retry-after"] == "2"


async def test_an_unexpected_error_is_logged_with_its_place_and_told_to_nobody(
    client: httpx.AsyncClient, events: Events
) -> None:
    answer = await client.get("/breaks")

    logged = next(event for event in events if event["event"] == "unhandled_error")
    assert "canary" not in answer.text
    assert "test_every_answer.py" in logged["traceback"]
    assert logged["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"name": "canary"}', 422, "invalid_request"),
        (b'{"name": "canary", "count": "canary"}', 422, "invalid_request"),
        (b'{"name": "canary"', 400, "malformed_json"),
        (b"[" * 100_000, 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
    ],
    ids=["missing", "type", "cut", "deep", "binary"],
)
async def test_a_wrong_body_is_the_callers_fault_and_is_not_quoted(
    client: httpx.AsyncClient, body: bytes, status: int, code: str
) -> None:
    answer = await client.post("/named", content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "canary" not in answer.text


async def test_one_line_tells_of_a_request_and_hides_its_user(
    client: httpx.AsyncClient, events: Events
) -> None:
    sent = {"authorization": "Bearer good", "x-request-id": "caller-1"}

    answer = await client.get("/whoami", headers=sent)

    lines = [event for event in events if event["event"] == "request"]
    assert [line["route"] for line in lines] == ["/whoami"]
    assert lines[0]["request_id"] == answer.headers["x-request-id"] != "caller-1"
    assert (lines[0]["correlation_id"], "ann" in str(lines)) == ("caller-1", False)


async def test_an_id_that_is_none_is_not_kept(client: httpx.AsyncClient, events: Events) -> None:
    await client.get("/thin", headers={"x-request-id": "a b\t{}"})

    assert "correlation_id" not in events[-1]


async def test_a_stream_lasts_until_its_last_byte(
    client: httpx.AsyncClient, events: Events
) -> None:
    await client.get("/thin")

    assert events[-1]["duration_ms"] == pytest.approx(3000, abs=1)


def series(name: str, **labels: str) -> float:
    """The value of a series now, 0 when it is not there."""
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


async def test_errors_and_requests_are_counted_by_closed_labels(client: httpx.AsyncClient) -> None:
    labels = {"route": "unmatched", "method": "other", "status": "404"}
    before = series("llmhive_http_requests_total", **labels)
    errors = series("llmhive_errors_total", code="not_found")

    await client.request("BREW", "/coffee/4711")

    assert series("llmhive_http_requests_total", **labels) == before + 1
    assert series("llmhive_errors_total", code="not_found") == errors + 1


async def call(
    app: Callable[..., Awaitable[None]], path: str, receive: Callable[[], Awaitable[Message]]
) -> list[Message]:
    """Serve one request whose caller is played by `receive`."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    await app(scope, receive, send)
    return sent


async def test_a_caller_that_left_is_told_as_499_and_counted_as_no_error(
    app: ExchangeMiddleware, events: Events
) -> None:
    left = series("llmhive_caller_left_total")

    async def leave() -> Message:
        return {"type": "http.disconnect"}

    await call(app, "/thin", leave)

    assert (events[-1]["status"], events[-1].get("code")) == (499, None)
    assert series("llmhive_caller_left_total") == left + 1


async def test_who_is_cut_by_a_shutdown_is_told_to_come_again(
    clock: FakeClock, board: HealthBoard, events: Events
) -> None:
    async def never_ends(_scope: Any, _receive: Any, _send: Any) -> None:
        await asyncio.Event().wait()

    app = ExchangeMiddleware(never_ends, served_by="x", cors=Cors([]), board=board, clock=clock)
    sent: list[Message] = []

    async def stay() -> Message:
        return await asyncio.Future()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    serving = asyncio.create_task(app(scope, stay, send))
    await let_others_run()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)

    assert serving.cancelled()
    assert (sent[0]["status"], events[-1]["code"]) == (503, "draining")
    assert series("llmhive_http_requests_in_flight") == 0


@pytest.fixture
def impatient(routes: Application, clock: FakeClock, board: HealthBoard) -> ExchangeMiddleware:
    """The same routes for who waits for no byte that is not there."""
    return ExchangeMiddleware(
        routes, served_by="x", cors=Cors([]), board=board, clock=clock, body_deadline_s=0.0
    )


@pytest.mark.parametrize("is_draining", [False, True], ids=["serving", "draining"])
async def test_a_body_that_does_not_come_is_waited_for_no_longer_than_the_bound(
    impatient: ExchangeMiddleware, board: HealthBoard, events: Events, *, is_draining: bool
) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        await asyncio.Event().wait()

    board.is_draining = is_draining
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(impatient), base_url="http://test"
    ) as client:
        answer = await client.post("/read", content=half())

    assert (answer.status_code, answer.json()["code"]) == (408, "body_late")
    assert answer.headers.get_list("connection") == ["close"]
    assert (events[-1]["status"], events[-1]["code"]) == (408, "body_late")


async def test_a_body_that_is_there_is_never_late(impatient: ExchangeMiddleware) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(impatient), base_url="http://test"
    ) as client:
        answer = await client.post("/read", content=b"whole")

    assert (answer.status_code, answer.json()) == (200, 5)
    assert "connection" not in answer.headers


async def test_while_draining_connections_are_given_up(
    client: httpx.AsyncClient, board: HealthBoard
) -> None:
    board.is_draining = True

    ready = await client.get("/api/health/ready")

    assert (ready.status_code, ready.json()["code"]) == (503, "draining")
    assert (await client.get("/api/health/live")).headers["connection"] == "close"


def test_what_is_no_request_is_refused_like_any_other(app: ExchangeMiddleware) -> None:
    headers, body = ProblemRefusals(app).answer(431)

    names = {name for name, _ in headers}
    assert {b"x-request-id", b"x-served-by", b"x-content-type-options", b"vary"} <= names
    assert b"headers_too_large" in body


async def test_the_openapi_document_has_ordinary_and_thin_routes(
    client: httpx.AsyncClient,
) -> None:
    paths = (await client.get("/api/openapi.json")).json()["paths"]

    assert {"/api/health", "/thin", "/whoami"} <= set(paths)


async def test_metrics_want_their_token_when_there_is_one(board: HealthBoard) -> None:
    parts = ApiParts(
        facts=ServiceFacts("", "production", "1", ""),
        board=board,
        identity=Identity(authenticate),
        metrics_token="token-of-metrics",
        is_production=True,
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Application(parts)), base_url="http://test"
    ) as client:
        refused = await client.get("/api/metrics", headers={"authorization": "Bearer good"})
        given = await client.get(
            "/api/metrics", headers={"authorization": "Bearer token-of-metrics"}
        )
        document = await client.get("/api/openapi.json")

    assert (refused.status_code, given.status_code, document.status_code) == (401, 200, 401)
    assert "llmhive_http_requests_total" in given.text


def test_a_record_is_there_without_any_middleware() -> None:
    scope: dict[str, Any] = {}

    assert record_of(scope) is record_of(scope)
