"""Faults: each is met by a client of our own inside, and by nobody afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from verification.harness.faults import FaultDidNotBiteError, Faults
from verification.harness.redis_view import RedisView
from verification.harness.toxiproxy_link import Link, Toxiproxy, ToxiproxyError, feel

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from verification.harness.toxiproxy_link import Reading
    from verification.selftest.faults.conftest import Bench

Fault = tuple["Callable[[Faults], AbstractContextManager[Reading]]", set[str]]

FAULTS: dict[str, Fault] = {
    "hang": (lambda faults: faults.hang("redis"), {"silent"}),
    "lose_answers": (lambda faults: faults.lose_answers("redis"), {"silent"}),
    "refuse": (lambda faults: faults.refuse("redis"), {"refused"}),
    "reset": (lambda faults: faults.reset("redis"), {"reset"}),
    "cut_after": (lambda faults: faults.cut_after("redis", 0), {"closed", "reset"}),
    "slow": (lambda faults: faults.slow("redis", 5000), {"silent"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_client_meets_the_fault_inside_and_health_afterwards(
    name: str, bench: Bench, faults: Faults
) -> None:
    make, expected = FAULTS[name]

    with make(faults):
        inside = feel((bench.link.host, bench.link.port), b"PING\r\n", 0.2)
    after = feel((bench.link.host, bench.link.port), b"PING\r\n", 5)

    assert inside.met in expected
    assert after.met == "answered"


def test_a_slow_link_answers_late(bench: Bench, faults: Faults) -> None:
    with faults.slow("redis", 150):
        inside = bench.link.feel(5)

    assert inside.met == "answered"
    assert inside.seconds >= 0.15


def test_a_request_whose_answer_is_lost_was_acted_on(bench: Bench, faults: Faults) -> None:
    wire = b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n*2\r\n$4\r\nINCR\r\n$4\r\nlost\r\n"

    with faults.lose_answers("redis"):
        inside = feel((bench.link.host, bench.link.port), wire, 0.2)

    direct = feel(("127.0.0.1", bench.redis.port), b"PING\r\n", 5)
    assert (inside.met, direct.met) == ("silent", "answered")
    assert _value(bench, "lost") == "1"


def _value(bench: Bench, key: str) -> str | None:
    view = RedisView(bench.redis.url)
    try:
        return view.text(key)
    finally:
        view.close()


def test_a_fault_is_healed_when_the_claim_fails(bench: Bench, faults: Faults) -> None:
    with pytest.raises(LookupError), faults.hang("redis"), faults.slow("redis", 50):
        raise LookupError

    assert bench.link.feel(5).met == "answered"
    assert faults.left_over() == []


def test_a_fault_that_nothing_feels_is_no_fault(bench: Bench) -> None:
    past_the_proxy = Link("redis", bench.toxiproxy, upstream=bench.link.upstream, probe=b"PING\r\n")
    past_the_proxy.proxy_name = bench.link.proxy_name
    past_the_proxy.port = bench.redis.port
    blind = Faults({"redis": past_the_proxy}, bites_within_s=0.3)

    with pytest.raises(FaultDidNotBiteError), blind.hang("redis"):
        pytest.fail("the body began without a bite")

    assert blind.left_over() == []


def test_a_link_that_is_ill_already_takes_no_fault(bench: Bench) -> None:
    nowhere = Link("nowhere", bench.toxiproxy, upstream="127.0.0.1:1", probe=b"PING\r\n")
    nowhere.open("bench-nowhere")

    with (
        pytest.raises(FaultDidNotBiteError, match="ill before"),
        Faults({"nowhere": nowhere}).hang("nowhere"),
    ):
        pytest.fail("the body began on a dead link")

    nowhere.close()


def test_the_log_says_when_each_fault_began_and_ended(faults: Faults) -> None:
    faults.log.clear()

    with faults.refuse("redis"):
        pass

    entry = faults.log[0]
    assert (entry["link"], entry["fault"], entry["met"]) == ("redis", "refuse", "refused")
    assert str(entry["asked_s"]) <= str(entry["bites_s"]) <= str(entry["healed_s"])


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [("latency", {"latancy": 5}), ("latencies", {"latency": 5}), ("timeout", {"time": 1})],
    ids=["attribute", "type", "other attribute"],
)
def test_a_misspelt_toxic_is_an_error_and_leaves_nothing(
    kind: str, attributes: dict[str, int], bench: Bench, faults: Faults
) -> None:
    with pytest.raises(ToxiproxyError):
        bench.toxiproxy.add_toxic(bench.link.proxy_name, kind, "downstream", attributes)

    assert faults.left_over() == []


def test_two_servers_do_not_share_an_address(bench: Bench) -> None:
    with pytest.raises(ToxiproxyError):
        Toxiproxy("127.0.0.1", 1).proxies()

    assert bench.toxiproxy.proxies()
