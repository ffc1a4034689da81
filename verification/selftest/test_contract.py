"""The contract agrees with itself: promises name items that exist, keys and bounds are whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from verification.contract import (
    billing,
    bounds,
    breakers,
    checklist,
    http,
    metrics,
    promises,
    redis_keys,
    tiers,
)
from verification.contract.bounds import BoundsError
from verification.contract.checklist import EvidenceKind, Severity
from verification.contract.promise import Promise

ROOT = Path(__file__).parents[2]
# Counted by hand in the checklist's own list of items.
SECTIONS = {
    "env.core": 7,
    "env.stripe": 5,
    "env.redis": 3,
    "env.apis": 8,
    "secrets.never": 4,
    "secrets.always": 5,
    "secrets.managers": 5,
    "redis.minimum": 3,
    "redis.ha": 4,
    "redis.keys": 3,
    "stripe.endpoint": 3,
    "stripe.events": 4,
    "stripe.health": 3,
    "quotas.openai": 3,
    "quotas.anthropic": 3,
    "quotas.tavily": 3,
    "quotas.coingecko": 2,
    "metrics": 7,
    "alerts": 6,
    "logs": 3,
    "security.input": 4,
    "security.auth": 4,
    "security.data": 4,
    "predeploy.code": 5,
    "predeploy.config": 4,
    "predeploy.infra": 4,
    "predeploy.integration": 4,
    "postdeploy": 3,
    "limitations": 4,
    "emergency": 2,
    "rollback": 4,
    "triage": 4,
}
ATTESTED = {
    "secrets.always.rotated-quarterly",
    "secrets.always.access-audited",
    "stripe.health.dashboard-logs",
    "predeploy.config.feature-flags",
    "predeploy.infra.dns",
}


def test_every_line_of_the_checklist_is_an_item() -> None:
    found = [item.section for item in checklist.items().values()]

    assert {section: found.count(section) for section in dict.fromkeys(found)} == SECTIONS


def test_an_items_id_is_its_section_and_a_name() -> None:
    wrong = [
        item.id
        for item in checklist.items().values()
        if not re.fullmatch(re.escape(item.section) + r"\.[a-z0-9-]+", item.id)
    ]

    assert wrong == []


def test_only_what_nobody_can_see_from_outside_is_attested() -> None:
    found = {
        item.id for item in checklist.items().values() if item.evidence is EvidenceKind.ATTESTATION
    }

    assert found == ATTESTED


def test_texts_of_items_are_short_and_unlike_each_other() -> None:
    texts = [item.text for item in checklist.items().values()]

    assert max(map(len, texts)) <= 80
    assert len({(item.section, item.text) for item in checklist.items().values()}) == len(texts)


def test_every_promise_names_items_that_exist_and_that_claims_can_show() -> None:
    wanted = {item for promise in promises.EVERY.values() for item in promise.items}

    assert wanted - set(checklist.items()) == set()
    assert wanted & ATTESTED == set()


def test_promises_have_ids_of_their_own_and_a_source() -> None:
    values = [value for value in vars(promises).values() if isinstance(value, Promise)]

    assert len({promise.id for promise in values}) == len(values)
    assert all(promise.text and promise.source for promise in values)


@pytest.mark.parametrize(
    "item", ["stripe.events.invoice-paid", "secrets.never.logged", "env.stripe.secret-key"]
)
def test_billing_and_leakage_cannot_be_waived(item: str) -> None:
    assert not checklist.items()[item].can_be_waived


def test_whatever_is_promised_is_claimed() -> None:
    folders = [ROOT / "verification" / "suites", ROOT / "chaos", ROOT / "load"]
    files = [file for folder in folders for file in folder.rglob("*.py")]
    named = set(re.findall(r"\bpromises\.([A-Z_]+)", "".join(map(Path.read_text, files))))
    found = [getattr(promises, name, None) for name in named]
    claimed = {one.id for one in found if isinstance(one, Promise)}

    assert {one.id for one in promises.EVERY.values()} - claimed == set()


def test_most_lines_are_blocking() -> None:
    blocking = [one for one in checklist.items().values() if one.severity is Severity.BLOCKING]

    assert len(blocking) > len(checklist.items()) / 2


def test_bounds_are_the_ones_that_the_design_names() -> None:
    found = bounds.bounds()

    assert found.above_limit("redis_away", limit=10, workers=4) == 12
    assert found.above_limit("redis_emptied", limit=10, workers=4) == 10
    assert (found.buckets, found.back_to_shared_within_s, found.revocation_within_s) == (60, 1, 5)


def test_a_formula_that_nobody_can_compute_is_refused() -> None:
    text = bounds.FILE.read_text().replace('"L"  ', '"L * 2"  ', 1)

    with pytest.raises(BoundsError, match="extra_admitted: expected one of"):
        bounds.parse(text)


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("llmhive:ratelimit:vfy-1:1763942400000", "window"),
        ("llmhive:ratelimit:{vfy-1}:1763942400000", "window"),
        ("llmhive:ratelimit:a%3Ab:1763942400000", "window"),
        ("llmhive:ratelimit:vfy-1:inflight", "inflight"),
        ("llmhive:override:vfy-1", "override"),
        ("llmhive:quota:openai:1763942400000", "quota"),
        ("llmhive:circuit:openai:gpt-4o:0", "circuit"),
        ("llmhive:trials:vfy-1:image", "trials"),
        ("llmhive:ratelimit:a:b:1763942400000", None),
        ("llmhive:ratelimit:vfy-1:soon", None),
        ("llmhive:sessions:vfy-1", None),
        ("other:vfy-1", None),
    ],
)
def test_a_key_is_one_of_the_documented_ones_or_none(key: str, rule: str | None) -> None:
    found = redis_keys.rule_for(key)

    assert (found.name if found else None) == rule


def test_keys_that_are_built_are_keys_that_are_known() -> None:
    built = [
        redis_keys.in_flight_key("a:b c"),
        redis_keys.override_key("a:b c"),
        redis_keys.circuit_key("openai:gpt-4o:0"),
        redis_keys.trials_key("a:b c", "image"),
    ]

    assert [rule.name for key in built if (rule := redis_keys.rule_for(key))] == [
        "inflight",
        "override",
        "circuit",
        "trials",
    ]


@pytest.mark.parametrize(
    ("key", "ttl_s"),
    [
        ("llmhive:ratelimit:u:1", 6.0),
        ("llmhive:ratelimit:u:inflight", 30.0),
        ("llmhive:circuit:u", None),
    ],
)
def test_a_keys_longest_life_follows_the_window(key: str, ttl_s: float | None) -> None:
    rule = redis_keys.rule_for(key)

    assert rule is not None
    assert rule.ttl_max_s(3.0) == ttl_s


def test_tiers_are_written_as_the_setting_wants_them() -> None:
    assert tiers.as_setting(*tiers.TIERS.values()) == (
        "free=10:10000:2,basic=30:50000:4,pro=100:500000:16,enterprise=1000:2000000:64"
    )


def test_metric_names_follow_the_convention() -> None:
    wrong = [
        metric.name
        for metric in metrics.METRICS
        if not metric.name.startswith("llmhive_")
        or (metric.kind == "counter") != metric.name.endswith("_total")
    ]

    assert wrong == []
    assert len(metrics.BY_NAME) == len(metrics.METRICS)


def test_error_codes_come_with_errors() -> None:
    assert all(re.fullmatch("[a-z_]+", code) for code in http.ERROR_CODES)
    assert all(status >= 400 for status in http.ERROR_CODES.values())


def test_nine_counted_failures_open_one_of_two_breakers() -> None:
    assert breakers.counted_failures_max(workers=2) == 9


def test_the_checklists_events_are_four() -> None:
    assert len(billing.CHECKLIST_EVENTS) == 4
