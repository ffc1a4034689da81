"""What operators say is followed by every worker: limits, breakers, and one run at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmhive.app.accounts.run_lease import RunLeases
from llmhive.app.adapters.memory_circuits import MemoryCircuitStore
from llmhive.app.adapters.sql_database import Database
from llmhive.app.adapters.sql_migrations import migrate
from llmhive.app.adapters.sql_orders import SqlOrders
from llmhive.app.adapters.sql_run_leases import SqlRunLeases
from llmhive.app.breakers.model import BreakerConfig, CircuitState, Forced
from llmhive.app.breakers.orders import Order, OrderFollower
from llmhive.tests.api.operators import BREAKER, Operators
from llmhive.tests.fakes import FakeClock

GRANT = {"requests_per_min": 300, "for_s": 3600}


@pytest.fixture
async def here(database: Database, clock: FakeClock) -> AsyncIterator[Operators]:
    made = Operators(database, clock)
    made.key("ada", "chat")
    yield made
    await made.client.aclose()


@pytest.fixture
async def elsewhere(database: Database, clock: FakeClock) -> AsyncIterator[Operators]:
    """Another worker over the same database."""
    made = Operators(database, clock)
    yield made
    await made.client.aclose()


# -- limits


async def test_an_override_holds_here_at_once_and_elsewhere_after_a_round(
    here: Operators, elsewhere: Operators
) -> None:
    status, told = await here.call("PUT", "/limits/ada", json=GRANT)

    assert (status, told["requests_per_min"]) == (200, 300)
    assert (here.overrides.requests_for("ada"), elsewhere.overrides.requests_for("ada")) == (
        300,
        None,
    )
    await elsewhere.overrides.follow()
    assert elsewhere.overrides.requests_for("ada") == 300


async def test_an_override_ends_by_itself_without_any_round(
    here: Operators, clock: FakeClock
) -> None:
    await here.call("PUT", "/limits/ada", json=GRANT)

    clock.advance(3600.0)

    assert here.overrides.requests_for("ada") is None
    assert (await here.call("GET", "/limits"))[1] == {"overrides": []}


async def test_a_user_is_given_back_to_the_tier(here: Operators, elsewhere: Operators) -> None:
    await here.call("PUT", "/limits/ada", json=GRANT)
    await elsewhere.overrides.follow()

    await here.call("DELETE", "/limits/ada")

    await elsewhere.overrides.follow()
    assert elsewhere.overrides.requests_for("ada") is None
    assert (await here.call("DELETE", "/limits/ada"))[0] == 404


async def test_somebody_who_is_not_there_gets_no_override(here: Operators) -> None:
    answer = await here.call("PUT", "/limits/nobody", json=GRANT)

    assert (answer[0], answer[1]["code"]) == (404, "not_found")


async def test_an_override_goes_with_its_user(here: Operators) -> None:
    await here.call("PUT", "/limits/ada", json=GRANT)

    _, done = await here.call("DELETE", "/users/ada")

    assert done["rows"] == {"api_keys": 1, "limit_overrides": 1, "users": 1}
    assert (await here.call("GET", "/limits"))[1] == {"overrides": []}


# -- orders to breakers


@pytest.mark.parametrize(
    ("action", "state", "forced"),
    [("force_open", "open", "open"), ("force_close", "closed", "closed")],
)
async def test_a_forced_breaker_is_followed_by_workers_that_share_nothing_else(
    here: Operators, elsewhere: Operators, action: str, state: str, forced: str
) -> None:
    order = {"action": action, "reason": "incident"}

    status, told = await here.call("POST", f"/breakers/{BREAKER}", json=order)

    assert (status, told["state"], told["forced"], told["reason"]) == (
        200,
        state,
        forced,
        "incident",
    )
    await elsewhere.follower.follow()
    assert elsewhere.breakers.states()[BREAKER].forced is Forced(forced)


async def test_a_reset_is_followed_by_those_who_were_there_and_is_history_for_others(
    here: Operators, elsewhere: Operators, database: Database, clock: FakeClock
) -> None:
    await here.follower.follow()
    await elsewhere.call("POST", f"/breakers/{BREAKER}", json={"action": "force_open"})
    await here.follower.follow()
    later = Operators(database, clock)
    await elsewhere.call("POST", f"/breakers/{BREAKER}", json={"action": "reset"})
    for _ in range(5):
        (await later.breakers.acquire("openai", BREAKER)).fail("server_error")

    await here.follower.follow()
    await later.follower.follow()

    assert here.breakers.states()[BREAKER].forced is Forced.NO
    assert later.breakers.states()[BREAKER].state is CircuitState.OPEN


@pytest.mark.parametrize("action", ["force_open", "force_close"])
async def test_an_order_taken_back_while_no_worker_ran_does_not_come_back_from_the_shared_state(
    database: Database, clock: FakeClock, action: str
) -> None:
    store = MemoryCircuitStore(clock, BreakerConfig())
    before, desk, after = (
        Operators(database, clock, circuits=each) for each in (store, None, store)
    )
    await before.breakers.follow()
    await before.call("POST", f"/breakers/{BREAKER}", json={"action": action})
    await before.breakers.flush()
    await desk.call("POST", f"/breakers/{BREAKER}", json={"action": "reset"})

    await after.follower.follow()
    await after.breakers.follow()
    came_back = after.breakers.states()[BREAKER].forced
    await after.follower.follow()
    await after.breakers.flush()

    assert came_back
    assert (after.breakers.states()[BREAKER].forced, store.records[BREAKER].forced) == ("", "")


@pytest.mark.parametrize(("action", "edited"), [("force_open", ""), ("reset", "open")])
async def test_an_order_wins_over_its_own_record_edited_in_the_shared_state(
    database: Database, clock: FakeClock, action: str, edited: str
) -> None:
    store = MemoryCircuitStore(clock, BreakerConfig())
    worker = Operators(database, clock, circuits=store)
    await worker.breakers.follow()
    await worker.call("POST", f"/breakers/{BREAKER}", json={"action": "force_close"})
    await worker.call("POST", f"/breakers/{BREAKER}", json={"action": action})
    await worker.breakers.flush()
    ordered = store.records[BREAKER].forced

    store.records[BREAKER] = replace(store.records[BREAKER], forced=Forced(edited))
    await worker.breakers.follow()
    await worker.follower.follow()
    await worker.breakers.flush()

    assert (worker.breakers.states()[BREAKER].forced, store.records[BREAKER].forced) == (
        ordered,
        ordered,
    )


async def test_an_order_that_came_while_older_ones_were_read_stands(
    here: Operators, database: Database, clock: FakeClock
) -> None:
    await here.call("POST", f"/breakers/{BREAKER}", json={"action": "reset"})
    book = SqlOrders(database)

    class Overtaken:
        """The book as it was read before a younger order was given and shared."""

        async def orders(self) -> list[Order]:
            found = await book.orders()
            here.breakers.force(BREAKER, Forced.OPEN, "younger", epoch="younger")
            return found

        async def put(self, order: Order) -> None:
            await book.put(order)

    await OrderFollower(Overtaken(), here.breakers, clock=clock).follow()

    assert here.breakers.states()[BREAKER].forced is Forced.OPEN


async def test_an_order_wins_over_whatever_moved_the_breaker_meanwhile(
    here: Operators, elsewhere: Operators
) -> None:
    await here.call("POST", f"/breakers/{BREAKER}", json={"action": "force_open"})
    await elsewhere.follower.follow()
    elsewhere.breakers.force(BREAKER, Forced.NO, "a shared state that was edited")

    await elsewhere.follower.follow()

    assert elsewhere.breakers.states()[BREAKER].forced is Forced.OPEN


async def test_an_unknown_breaker_is_told_with_the_known_ones(here: Operators) -> None:
    status, told = await here.call("POST", "/breakers/openai:gpt-5:0", json={"action": "reset"})

    assert (status, told["code"]) == (404, "not_found")
    assert BREAKER in told["detail"]


async def test_the_list_shows_parents_and_children(here: Operators) -> None:
    _, told = await here.call("GET", "/breakers")

    assert [(each["name"], each["state"]) for each in told["breakers"]] == [
        ("openai", "closed"),
        (BREAKER, "closed"),
    ]


# -- one run at a time

WANTED = {"holder": "ci on host-1", "run": "r-1", "ttl_s": 60}


async def test_a_second_run_is_told_who_runs_and_for_how_long(
    here: Operators, clock: FakeClock
) -> None:
    assert (await here.call("POST", "/run-lease", json=WANTED))[0] == 201
    clock.advance(20.0)

    status, told = await here.call("POST", "/run-lease", json={**WANTED, "run": "r-2"})

    assert (status, told["code"]) == (409, "lease_held")
    assert told["detail"] == "Run r-1 of ci on host-1 holds the lease for 40 s more."


async def test_a_lease_is_renewed_and_given_back_by_its_holder_alone(
    here: Operators, clock: FakeClock
) -> None:
    _, taken = await here.call("POST", "/run-lease", json=WANTED)
    mine = f"/run-lease/{taken['lease_id']}"
    clock.advance(50.0)

    _, renewed = await here.call("PUT", mine, json={"ttl_s": 60})

    assert renewed["expires_in_s"] == 60.0
    assert (await here.call("DELETE", "/run-lease/guessed"))[1]["code"] == "lease_lost"
    assert (await here.call("DELETE", mine))[0] == 200
    assert (await here.call("GET", "/run-lease"))[1] == {"lease": None}


async def test_an_expired_lease_is_taken_over_and_its_run_is_named(
    here: Operators, clock: FakeClock
) -> None:
    _, killed = await here.call("POST", "/run-lease", json=WANTED)
    clock.advance(60.0)

    status, taken = await here.call("POST", "/run-lease", json={**WANTED, "run": "r-2"})

    assert (status, taken["took_over"]) == (201, {"holder": "ci on host-1", "run": "r-1"})
    answer = await here.call("PUT", f"/run-lease/{killed['lease_id']}", json={"ttl_s": 60})
    assert (answer[0], answer[1]["code"]) == (409, "lease_lost")


async def test_whoever_holds_it_is_shown_without_the_proof(here: Operators) -> None:
    _, taken = await here.call("POST", "/run-lease", json=WANTED)

    _, shown = await here.call("GET", "/run-lease")

    assert shown["lease"] == {"holder": "ci on host-1", "run": "r-1", "expires_in_s": 60.0}
    assert taken["lease_id"] not in str(shown)


async def test_of_many_runs_that_want_it_at_once_one_gets_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    url = f"sqlite:///{tmp_path / 'llmhive.db'}"
    migrate(url)
    databases = [Database(url, busy_timeout_s=10.0) for _ in range(4)]
    workers = [RunLeases(SqlRunLeases(each), clock=clock) for each in databases]

    ends = await asyncio.gather(
        *(each.acquire(holder="me", run="r", ttl_s=60.0) for each in workers),
        return_exceptions=True,
    )

    for each in databases:
        each.close()
    assert sorted(type(end).__name__ for end in ends) == ["Acquired", *["CallerError"] * 3]
