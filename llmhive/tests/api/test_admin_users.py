"""Users in operators' hands: made, found by tag, deleted with everything that is theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from llmhive.app.adapters.sql_database import Database
from llmhive.app.errors import DependencyError
from llmhive.tests.api.operators import Operators
from llmhive.tests.fakes import FakeClock


class FakeTraces:
    """A UserTraces that remembers whom it forgot, and can be away."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []
        self.is_away = False

    async def forget(self, users: Sequence[str]) -> int:
        if self.is_away:
            raise DependencyError
        self.forgotten += users
        return 3 * len(users)


@pytest.fixture
def traces() -> FakeTraces:
    return FakeTraces()


@pytest.fixture
async def operators(
    database: Database, clock: FakeClock, traces: FakeTraces
) -> AsyncIterator[Operators]:
    made = Operators(database, clock, traces)
    yield made
    await made.client.aclose()


async def make(operators: Operators, *users: str, tag: str = "run-1") -> list[str]:
    """Users of a tag, by their keys."""
    bodies = [
        {"user": user, "tag": tag, "stripe_customer": f"cus_{user.encode().hex()}"}
        for user in users
    ]
    made = [await operators.call("POST", "/users", json=body) for body in bodies]
    return [body["key"] for _, body in made]


async def test_a_user_is_made_with_tier_customer_tag_and_a_key_that_works(
    operators: Operators,
) -> None:
    body = {"user": "ada", "tier": "pro", "stripe_customer": "cus_1", "tag": "run-1"}

    status, made = await operators.call("POST", "/users", json={**body, "scopes": ["admin"]})

    assert status == 201
    assert {name: made[name] for name in body} == body
    assert (await operators.call("GET", "/limits", key=made["key"]))[0] == 200


async def test_a_user_is_made_once(operators: Operators) -> None:
    await make(operators, "ada")

    answer = await operators.call("POST", "/users", json={"user": "ada", "tier": "enterprise"})

    assert (answer[0], answer[1]["code"]) == (409, "user_exists")
    listed = (await operators.call("GET", "/users?tag=run-1"))[1]["users"]
    assert [(user["user"], user["tier"], user["keys"]) for user in listed] == [("ada", "free", 1)]


async def test_a_customer_of_somebody_else_is_refused(operators: Operators) -> None:
    await make(operators, "ada")

    answer = await operators.call(
        "POST", "/users", json={"user": "bob", "stripe_customer": f"cus_{b'ada'.hex()}"}
    )

    assert (answer[0], answer[1]["code"]) == (409, "customer_taken")


async def test_deleting_by_tag_deletes_those_and_nobody_else(
    operators: Operators, clock: FakeClock, traces: FakeTraces
) -> None:
    (key, *_) = await make(operators, "ada", "ada/2")
    await make(operators, "bob", tag="run-2")

    _, done = await operators.call("DELETE", "/users?tag=run-1")

    assert (done["deleted"], done["left"], done["redis_keys"]) == (2, 0, 6)
    assert (done["rows"], traces.forgotten) == ({"api_keys": 2, "users": 2}, ["ada", "ada/2"])
    clock.advance(5.0)
    assert (await operators.call("GET", "/limits", key=key))[0] == 401
    assert (await operators.call("GET", "/users?tag=run-2"))[1]["total"] == 1


async def test_tags_are_found_by_how_they_begin(operators: Operators) -> None:
    await make(operators, "ada", "bob", tag="vfy-1")
    await make(operators, "eve", tag="vfy_2")

    _, told = await operators.call("GET", "/tags?prefix=vfy-")

    assert told == {"tags": [{"tag": "vfy-1", "users": 2}]}


async def test_a_user_is_deleted_by_any_id(operators: Operators) -> None:
    await make(operators, "a/b c?ü")

    status, done = await operators.call("DELETE", "/users/a%2Fb%20c%3F%C3%BC")

    assert (status, done["deleted"]) == (200, 1)
    assert (await operators.call("DELETE", "/users/nobody"))[1]["code"] == "not_found"


async def test_many_are_deleted_in_several_calls(
    operators: Operators, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmhive.app.accounts.administration.DELETED_AT_ONCE", 2)
    await make(operators, "a", "b", "c")

    left = [(await operators.call("DELETE", "/users?tag=run-1"))[1]["left"] for _ in range(2)]

    assert left == [1, 0]


async def test_traces_out_of_reach_are_said_to_be(operators: Operators, traces: FakeTraces) -> None:
    await make(operators, "ada")
    traces.is_away = True

    status, done = await operators.call("DELETE", "/users/ada")

    assert (status, done["deleted"], done["redis_keys"]) == (200, 1, None)
