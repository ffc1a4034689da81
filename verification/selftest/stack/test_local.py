"""A whole stack: everything proxied, as good as new for each claim, ended with nothing left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from verification.harness import capabilities as can
from verification.harness.lifetime import birth
from verification.harness.stack.backend import Processes
from verification.harness.stack.cache import StackCache
from verification.harness.stack.configuration import configuration
from verification.harness.stack.local import REPLACEMENTS_MAX, LocalStacks
from verification.harness.stack.model import ServiceDidNotStartError
from verification.harness.target import Target
from verification.harness.waiting import came_true
from verification.selftest.stack.conftest import STAND_IN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verification.harness.stack.local import LiveStack

PLAIN = configuration()
TROUBLE = "trouble"  # the stand-in counts it as a provider's failure


@pytest.fixture(scope="module")
def cache() -> Iterator[StackCache]:
    """Stacks of the stand-in on child processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMHIVE_SERVICE_PYTHON", sys.executable)
        patch.setenv("LLMHIVE_OVERLAY", str(STAND_IN))
        made = StackCache(LocalStacks(Processes(), run_id="run", worker="gw0"))
        yield made
        made.close()


@pytest.fixture
def live(cache: StackCache) -> LiveStack:
    """A stack as a claim gets it."""
    return cache.lend(PLAIN)


def test_every_link_answers_through_its_proxy(live: LiveStack) -> None:
    met = {name: link.feel(5).met for name, link in live.links.items()}

    assert met == dict.fromkeys(["redis", "openai", "anthropic", "stripe", "service"], "answered")


def test_the_service_is_told_the_proxies_and_never_the_servers(live: LiveStack) -> None:
    settings = live.stack.settings
    told = {"redis": "REDIS_URL", "openai": "OPENAI_BASE_URL", "stripe": "STRIPE_API_BASE"}

    assert all(f":{live.links[link].port}" in settings[name] for link, name in told.items())


def test_a_stack_begins_with_the_operators_key_and_without_a_command(cache: StackCache) -> None:
    live = cache.lend(configuration({"FRESHLY": "built"}))

    key = live.service.operators_key()

    assert key == "key-vfy-operator"
    assert list(live.folder.glob("command-*.out")) == []


def test_a_claims_settings_win_over_the_defaults(cache: StackCache) -> None:
    stack = cache.lend(configuration({"DRAIN_SECONDS": "9", "STRIPE_SECRET_KEY": None})).stack

    assert stack.settings["DRAIN_SECONDS"] == "9"
    assert "STRIPE_SECRET_KEY" not in stack.settings


def test_ids_of_one_run_never_repeat(live: LiveStack) -> None:
    first, second = Target(live.stack).new_customer(), Target(live.stack).new_customer()

    assert len({first.id, second.id, first.customer, second.customer}) == 4
    assert first.id.startswith("vfy-run-gw0-")


def test_an_untroubled_service_goes_on_to_the_next_claim(cache: StackCache) -> None:
    before = cache.lend(PLAIN)
    pid = before.service.pid

    before.end_claim()

    assert cache.lend(PLAIN).service.pid == pid


def troubled(live: LiveStack) -> str:
    """Let the service count a provider's trouble; gives the worker that remembers it."""
    live.stack.redis.command("SET", "left", "over")
    with live.stack.faults.refuse("openai"):
        answer = Target(live.stack).chat(None, TROUBLE)
    live.end_claim()
    return str(answer.served_by)


def test_after_trouble_the_next_claim_gets_a_fresh_worker_and_an_empty_redis(
    cache: StackCache,
) -> None:
    live = cache.lend(PLAIN)
    pid, remembers = live.service.pid, troubled(live)

    again = cache.lend(PLAIN)

    assert (again is live, again.service.pid) == (True, pid)
    assert Target(again.stack).http.get("/api/health").served_by != remembers
    assert again.stack.redis.keys() == []


def test_after_more_trouble_than_a_supervisor_takes_lightly_it_is_restarted(
    cache: StackCache,
) -> None:
    live = cache.lend(PLAIN)
    live.service.restart()
    live.replacements, supervisors = 0, []
    for _ in range(REPLACEMENTS_MAX + 2):
        supervisors.append(live.service.pid)
        troubled(live)
        cache.lend(PLAIN)

    assert len(set(supervisors[: REPLACEMENTS_MAX + 1])) == 1
    assert supervisors[-1] != supervisors[0]


def test_after_trouble_several_workers_are_restarted_with_their_supervisor(
    cache: StackCache,
) -> None:
    live = cache.lend(configuration(workers=2))
    pid, live.is_troubled = live.service.pid, True

    assert cache.lend(configuration(workers=2)).service.pid != pid


def test_a_worker_whose_coverage_is_measured_is_not_killed(
    cache: StackCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = cache.lend(PLAIN)
    pid, live.replacements, live.is_troubled = live.service.pid, 0, True
    monkeypatch.setenv("COVERAGE_PROCESS_START", "pyproject.toml")

    assert cache.lend(PLAIN).service.pid != pid


def test_where_no_worker_comes_back_the_service_is_restarted(
    cache: StackCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = cache.lend(PLAIN)
    live.replacements, pid = 0, live.service.pid
    monkeypatch.setattr(live.service, "replace_workers", lambda _between: False)
    troubled(live)

    assert cache.lend(PLAIN).service.pid != pid


def test_the_same_trouble_is_counted_anew_by_another_supervisor(cache: StackCache) -> None:
    live = cache.lend(PLAIN)
    live.service.restart()
    troubled(live)
    live.service.restart()
    live.is_troubled = False

    troubled(live)

    assert live.is_troubled


def test_a_scripted_text_is_no_trouble(live: LiveStack) -> None:
    live.stack.providers["openai"].reply(text="hi", times=1)

    live.end_claim()

    assert not live.is_troubled


def test_a_scripted_failure_is_trouble_once_the_service_counted_it(live: LiveStack) -> None:
    live.service.restart()  # what other tests had it count is forgotten
    live.stack.providers["openai"].fail(500, times=1)

    live.end_claim()
    before = live.is_troubled
    Target(live.stack).chat(None, TROUBLE)
    live.end_claim()

    assert (before, live.is_troubled) == (False, True)


def test_a_fault_before_redis_is_forgotten_when_it_is_healed(live: LiveStack) -> None:
    with live.stack.faults.refuse("redis"):
        Target(live.stack).chat(None, TROUBLE)

    live.end_claim()

    assert not live.is_troubled


def test_a_stack_whose_clock_was_shifted_is_nobody_elses(cache: StackCache) -> None:
    live = cache.lend(PLAIN)
    live.stack.capabilities |= {can.CLOCK}  # without the library nothing would be shifted

    Target(live.stack).shift_clock(3600.0)

    assert cache.lend(PLAIN) is not live


def test_what_a_claim_leaves_ill_is_named_and_healed(live: LiveStack) -> None:
    link = live.links["stripe"]
    link.server.add_toxic(link.proxy_name, "latency", "downstream", {"latency": 900})

    assert live.end_claim() == ["stripe"]
    assert live.end_claim() == []


def test_a_dead_service_is_replaced(cache: StackCache) -> None:
    live = cache.lend(PLAIN)
    live.service.kill()
    live.service.wait(10)

    assert Target(cache.lend(PLAIN).stack).health()["status"] == "ok"


def test_a_stack_without_a_simulator_is_replaced(cache: StackCache) -> None:
    live = cache.lend(PLAIN)
    live.trio.children[0].kill()

    again = cache.lend(PLAIN)

    assert again is not live
    assert again.stack.providers["openai"].journal() == []


def test_a_service_that_refuses_its_settings_does_not_disturb_the_next_claim(
    cache: StackCache,
) -> None:
    with pytest.raises(ServiceDidNotStartError, match="STAND_IN_PROBLEM"):
        cache.lend(configuration({"STAND_IN_PROBLEM": "no"}))

    assert Target(cache.lend(PLAIN).stack).health()["status"] == "ok"


def test_an_ended_stack_runs_no_more_and_leaves_its_redis_to_the_next(cache: StackCache) -> None:
    wanted = configuration({"SHORT": "lived"})
    live = cache.lend(wanted)
    url = live.redis.url
    live.stack.is_spoilt = True

    again = cache.lend(wanted)

    assert again is not live
    assert came_true(lambda: birth(live.service.pid) is None, within_s=10)
    assert again.redis is live.redis
    assert again.redis.url != url
