"""Health says how things stand, from real checks, at once, whatever hangs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from verification.contract import http, promises
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.timing import holds_up_at_most
from verification.harness.waiting import eventually

if TYPE_CHECKING:
    from verification.harness.target import Target

# A check every 0.2 s here, of which a provider's is every fifth, with the longest of them.
SEEN_WITHIN_S = 6.0
# Health that waited for what hangs would take its time-out of seconds; ten times this bound.
AT_ONCE_S = 0.3


@claim(
    "observability.health.follows",
    proves=[promises.HEALTH_COMPONENTS, promises.READINESS],
    needs=[can.FAULTS],
    faults=["redis", "openai", "anthropic"],
)
@pytest.mark.parametrize("link", ["redis", "openai", "anthropic"])
def test_a_component_that_is_cut_off_is_shown_and_so_is_its_return(
    link: str, target: Target
) -> None:
    name = link if link == "redis" else f"provider:{link}"
    assert target.component(name)["state"] == "up"

    with target.faults.refuse(link):
        cut = eventually(
            target.health,
            until=lambda seen: seen["components"][name]["state"] != "up",
            within_s=SEEN_WITHIN_S,
            claim=f"health shows that {link} is cut off",
        )
        ready = target.http.get(http.READY.path)
    healed = eventually(
        target.health,
        until=lambda seen: (seen["status"], seen["components"][name]["state"]) == ("ok", "up"),
        within_s=SEEN_WITHIN_S,
        claim=f"health shows that {link} is back",
    )

    eventually(
        lambda: [target.component(each)["age_s"] for each in (name, "database")],
        until=lambda ages: min(ages) > 0,
        within_s=SEEN_WITHIN_S,
        claim="health tells how old its last checks are",
    )

    assert (cut["status"], ready.status, healed["status"]) == ("degraded", 200, "ok")
    assert healed["components"][name]["age_s"] < SEEN_WITHIN_S


@claim(
    "observability.health.database",
    proves=[promises.HEALTH_COMPONENTS, promises.READINESS],
    needs=[can.DATABASE],
    faults=["database"],
)
@pytest.mark.parametrize("trouble", ["locked", "lost"])
def test_a_database_that_takes_no_writes_is_shown_and_nobody_is_sent_there_until_it_does(
    trouble: str, target: Target
) -> None:
    def shown() -> tuple[int, bool]:
        is_up = target.component("database").get("state") == "up"
        return target.http.get(http.READY.path).status, is_up

    with target.database_lock() if trouble == "locked" else target.database_lost():
        eventually(
            shown,
            until=lambda seen: seen == (503, False),
            within_s=SEEN_WITHIN_S,
            claim=f"health and readiness show a database that is {trouble}",
        )
        live = target.http.get(http.LIVE.path)
    eventually(
        shown,
        until=lambda seen: seen == (200, True),
        within_s=SEEN_WITHIN_S,
        claim="health and readiness show that the database is back",
    )

    assert live.status == 200


@claim(
    "observability.health.all-providers-away",
    proves=[promises.HEALTH_COMPONENTS, promises.READINESS],
    needs=[can.FAULTS],
    faults=["openai", "anthropic"],
)
def test_without_any_provider_it_is_unavailable_and_still_ready(target: Target) -> None:
    with target.faults.refuse("openai"), target.faults.refuse("anthropic"):
        away = eventually(
            lambda: target.http.get(http.HEALTH.path),
            until=lambda answer: answer.status == 503,
            within_s=SEEN_WITHIN_S,
            claim="health says that no provider can be reached",
        )
        ready = target.http.get(http.READY.path)
        live = target.http.get(http.LIVE.path)

    assert (away.json()["status"], (away.retry_after_s or 0) >= 1) == ("unavailable", True)
    assert (ready.status, live.status) == (200, 200)


@claim(
    "observability.health.never-waits",
    proves=[promises.HEALTH_NEVER_WAITS],
    needs=[can.FAULTS, can.DATABASE],
    faults=["redis", "openai", "anthropic", "database"],
)
def test_health_answers_at_once_while_everything_behind_it_hangs(target: Target) -> None:
    with (
        target.faults.hang("redis"),
        target.faults.hang("openai"),
        target.faults.hang("anthropic"),
        target.database_lock(),
    ):
        eventually(
            target.health,
            until=lambda told: told.get("status") == "degraded",
            within_s=SEEN_WITHIN_S,
            claim="health says that something behind it hangs",
        )
        at_once = holds_up_at_most(
            AT_ONCE_S,
            reading=lambda: target.http.get(http.HEALTH.path).seconds,
            control=lambda: target.http.get(http.LIVE.path).seconds,
            claim="health answers at once",
        )

    at_once.require()
    assert {one.status for one in target.answers} <= {200, 503}
