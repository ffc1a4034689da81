"""Every admin route: who may call it, what it takes, what it leaves in the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmhive.app.adapters.sql_database import Database
from llmhive.app.bootstrap.admin_parts import ROUTERS
from llmhive.tests.api.operators import BREAKER, Operators
from llmhive.tests.fakes import FakeClock

Events = list[dict[str, Any]]
USER = {"user": "ada", "tier": "pro"}
CALLS = {
    "create_user": ("POST", "/users", USER),
    "list_users": ("GET", "/users?tag=run-1", None),
    "list_tags": ("GET", "/tags?prefix=run-", None),
    "delete_tagged_users": ("DELETE", "/users?tag=run-1", None),
    "delete_user": ("DELETE", "/users/ada", None),
    "list_overrides": ("GET", "/limits", None),
    "put_override": ("PUT", "/limits/ada", {"requests_per_min": 5, "for_s": 60}),
    "remove_override": ("DELETE", "/limits/ada", None),
    "list_breakers": ("GET", "/breakers", None),
    "order_breaker": ("POST", f"/breakers/{BREAKER}", {"action": "reset"}),
    "read_lease": ("GET", "/run-lease", None),
    "take_lease": ("POST", "/run-lease", {"holder": "me", "run": "r", "ttl_s": 60}),
    "renew_lease": ("PUT", "/run-lease/x", {"ttl_s": 60}),
    "release_lease": ("DELETE", "/run-lease/x", None),
}
# Bodies that break a rule, by the rule.
WRONG = {
    "a field that nobody asked for": ("POST", "/users", {**USER, "is_admin": True}),
    "a number as text": ("PUT", "/limits/ada", {"requests_per_min": "5", "for_s": 60}),
    "a truth as a number": ("PUT", "/limits/ada", {"requests_per_min": True, "for_s": 60}),
    "more than anybody needs": ("PUT", "/limits/ada", {"requests_per_min": 10**30, "for_s": 60}),
    "less than nothing": ("PUT", "/limits/ada", {"requests_per_min": -1, "for_s": 60}),
    "for ever": ("PUT", "/limits/ada", {"requests_per_min": 1, "for_s": 10**9}),
    "an unknown tier": ("POST", "/users", {"user": "ada", "tier": "gold"}),
    "an unknown scope": ("POST", "/users", {"user": "ada", "scopes": ["root"]}),
    "no scope": ("POST", "/users", {"user": "ada", "scopes": []}),
    "an empty user": ("POST", "/users", {"user": ""}),
    "a long user": ("POST", "/users", {"user": "x" * 256}),
    "a tag with a blank": ("POST", "/users", {"user": "ada", "tag": "a b"}),
    "a foreign customer's id": ("POST", "/users", {"user": "ada", "stripe_customer": "sub_1"}),
    "an unknown action": ("POST", f"/breakers/{BREAKER}", {"action": "explode"}),
    "a lease without end": ("POST", "/run-lease", {"holder": "me", "run": "r", "ttl_s": 10**6}),
    "no tag to delete by": ("DELETE", "/users", None),
    "everybody's tag": ("DELETE", "/users?tag=%25", None),
    "a list": ("POST", "/run-lease", []),
}


@pytest.fixture
async def operators(database: Database, clock: FakeClock) -> AsyncIterator[Operators]:
    made = Operators(database, clock)
    yield made
    await made.client.aclose()


def test_every_route_is_called_here() -> None:
    names = {getattr(route, "name", "") for router in ROUTERS for route in router.routes}

    assert names == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
async def test_a_key_without_the_scope_opens_no_door(
    operators: Operators, events: Events, name: str
) -> None:
    method, path, body = CALLS[name]

    answer = await operators.call(method, path, key=operators.key("bob", "chat"), json=body)

    assert (answer[0], answer[1]["code"]) == (403, "insufficient_scope")
    assert [(e["action"], e["status"]) for e in events if e["event"] == "admin_call"] == [
        (name, 403)
    ]


@pytest.mark.parametrize("name", CALLS)
async def test_nobody_gets_in_without_a_key(operators: Operators, name: str) -> None:
    method, path, body = CALLS[name]

    answer = await operators.call(method, path, key="wrong", json=body)

    assert (answer[0], answer[1]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize("name", CALLS)
async def test_every_call_leaves_one_audit_line(
    operators: Operators, events: Events, name: str
) -> None:
    method, path, body = CALLS[name]

    status, _ = await operators.call(method, path, json=body)

    (line,) = [event for event in events if event["event"] == "admin_call"]
    assert (line["action"], line["method"], line["status"]) == (name, method, status)
    assert line["key_id"].startswith("key_")


async def test_an_audit_line_names_no_user_and_no_key(operators: Operators, events: Events) -> None:
    _, made = await operators.call("POST", "/users", json={"user": "ada@example.com"})

    (line,) = [event for event in events if event["event"] == "admin_call"]
    assert len(line["subject"]) == 16
    assert "ada@example.com" not in str(line)
    assert made["key"] not in str(events)


@pytest.mark.parametrize("case", WRONG)
async def test_what_breaks_a_rule_is_refused_and_changes_nothing(
    operators: Operators, case: str
) -> None:
    method, path, body = WRONG[case]
    operators.key("ada", "chat")

    answer = await operators.call(method, path, json=body)

    assert (answer[0], answer[1]["code"]) == (422, "invalid_request")
    assert (await operators.call("GET", "/limits"))[1] == {"overrides": []}


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b'{"user":NaN}', 422, "invalid_request"),
        (b"[" * 9000, 400, "malformed_json"),
        (b'{"user":"' + b"x" * 20_000 + b'"}', 413, "body_too_large"),
        (b'{"user":"a\xff"}', 400, "malformed_json"),
    ],
    ids=["half", "nan", "deep", "large", "no text"],
)
async def test_a_body_that_cannot_be_read_is_told(
    operators: Operators, content: bytes, status: int, code: str
) -> None:
    answer = await operators.call(
        "POST", "/users", content=content, headers={"content-type": "application/json"}
    )

    assert (answer[0], answer[1]["code"]) == (status, code)


async def test_the_body_of_somebody_without_the_scope_is_not_even_read(
    operators: Operators,
) -> None:
    answer = await operators.call(
        "POST", "/users", key=operators.key("bob", "chat"), content=b"x" * 100_000
    )

    assert answer[0] == 403


async def test_the_routes_stand_in_the_document(operators: Operators) -> None:
    paths = (await operators.client.get("/api/openapi.json")).json()["paths"]

    assert set(paths["/api/admin/users"]) == {"post", "get", "delete"}
    assert "/api/admin/breakers/{name}" in paths
