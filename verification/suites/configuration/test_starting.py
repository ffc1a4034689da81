"""A start with wrong settings stops at once, naming every problem and no secret."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from verification.contract import http, promises, redis_keys
from verification.contract.billing import (
    EVENT_ATTEMPTS,
    EVENT_LEASE_S,
    GRACE_DAYS,
    SIGNATURE_TOLERANCE_S,
)
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verification.harness.target import Target

COULD_NOT_START = 3
# Variable -> a value that it must not take.
WRONG = {
    "LLMHIVE_ENVIRONMENT": "prod",
    "S4_LLM_TIMEOUT": "abc",
    "S4_MAX_WALL_CLOCK": "-1",
    "S4_MAX_ITERATIONS": "0",
    "S4_COREF_TIMEOUT": "nan",
    "REDIS_MAX_CONNECTIONS": "1e9",
    "REDIS_URL": "http://localhost",
    "DATABASE_URL": "postgresql+none://localhost/hive",
    "RATE_LIMIT_WINDOW_S": "inf",
    "RATE_LIMIT_TIERS": "free=ten",
    "RATE_LIMIT_REDIS_PREFIX": "a b",
    "LOG_LEVEL": "LOUD",
    "LLM_PROVIDERS": "openai,cohere",
    "OPENAI_BASE_URL": "api.openai.com",
    "STRIPE_API_BASE": "https+x://api.stripe.com",
    "BREAKER_FAILURE_RATIO": "1.5",
    "DRAIN_SECONDS": "5 minutes",
    "CORS_ORIGINS": "*",
}
# What production cannot do without -> what else has to be taken away for it to be missing.
NEEDED: dict[str, dict[str, str | None]] = {
    "STRIPE_SECRET_KEY": {"STRIPE_SECRET_KEY": None},
    "STRIPE_WEBHOOK_SECRET": {"STRIPE_WEBHOOK_SECRET": None},
    "STRIPE_PRICE_ID_BASIC_MONTHLY": {"STRIPE_PRICE_ID_BASIC_MONTHLY": ""},
    "STRIPE_PRICE_ID_PRO_MONTHLY": {"STRIPE_PRICE_ID_PRO_MONTHLY": None},
    "STRIPE_PRICE_ID_ENTERPRISE_MONTHLY": {"STRIPE_PRICE_ID_ENTERPRISE_MONTHLY": " "},
    "OPENAI_API_KEY": {"OPENAI_API_KEY": None, "ANTHROPIC_API_KEY": None},
    "REDIS_URL": {"REDIS_URL": None},
}
# One that cannot be read and two that contradict each other: they hide nothing that is missing.
AT_ONCE = {"LOG_LEVEL": "LOUD", "RETRY_BASE_S": "9", "RETRY_CAP_S": "8"}
# Each readable, none of them true beside the others: in production, with two workers.
CONTRADICTIONS = {
    "S4_MAX_WALL_CLOCK": "20",
    "S4_LLM_TIMEOUT": "21",
    "S4_STREAM_IDLE_TIMEOUT": "22",
    "S4_COREF_TIMEOUT": "23",
    "RETRY_BASE_S": "9",
    "RETRY_CAP_S": "8",
    "BREAKER_OPEN_S": "9",
    "BREAKER_OPEN_MAX_S": "8",
    "RATE_LIMIT_WORKERS": "1",
    # What enterprise pays for is not said.
    "RATE_LIMIT_TIERS": "free=10:10000:2,basic=30:50000:4,pro=100:500000:16",
    "STRIPE_PRICE_ID_BASIC_MONTHLY": "price_of_two_tiers",
    "STRIPE_PRICE_ID_PRO_MONTHLY": "price_of_two_tiers",
}
# The lower one of each pair, and what stands alone.
CONTRADICTED = (
    "S4_LLM_TIMEOUT",
    "S4_STREAM_IDLE_TIMEOUT",
    "S4_COREF_TIMEOUT",
    "RETRY_BASE_S",
    "BREAKER_OPEN_S",
    "RATE_LIMIT_WORKERS",
    "RATE_LIMIT_TIERS",
    "STRIPE_PRICE_ID_",
)
PRODUCTION: Mapping[str, str | None] = {"LLMHIVE_ENVIRONMENT": "production"}
# What the service does with unless told otherwise; the stack itself sets some of them.
# Source: DESIGN 3.1 to 3.8; checklist, "Required Environment Variables".
DEFAULTS: Mapping[str, str | float] = {
    "S4_COREF_TIMEOUT": 5.0,
    "S4_LLM_TIMEOUT": 30.0,
    "S4_MAX_ITERATIONS": 10,
    "S4_MAX_WALL_CLOCK": 120.0,
    "S4_STREAM_IDLE_TIMEOUT": 15.0,
    "RETRY_ATTEMPTS": 3,
    "RETRY_BASE_S": 0.5,
    "RETRY_CAP_S": 8.0,
    "BREAKER_OPEN_S": 30.0,
    "BREAKER_OPEN_MAX_S": 300.0,
    "REDIS_MAX_CONNECTIONS": 10,
    "RATE_LIMIT_REDIS_PREFIX": redis_keys.PREFIX,
    "LOG_LEVEL": "INFO",
    "STRIPE_WEBHOOK_TOLERANCE_S": SIGNATURE_TOLERANCE_S,
    "BILLING_EVENT_LEASE_S": EVENT_LEASE_S,
    "BILLING_EVENT_ATTEMPTS": EVENT_ATTEMPTS,
    "BILLING_GRACE_DAYS": GRACE_DAYS,
    "KEY_CACHE_STALE_S": 60.0,
    "DRAIN_SECONDS": 5.0,
    # As long as a request may take.
    "SHUTDOWN_GRACE_S": 120.0,
}


@claim("configuration.wrong.all-named", proves=[promises.SETTINGS_CHECKED], needs=[can.RESTART])
def test_every_wrong_setting_is_named_in_one_message(target: Target) -> None:
    ended = target.try_start(WRONG)

    assert (ended.code, ended.listened) == (COULD_NOT_START, False)
    assert [name for name in WRONG if name not in ended.stderr] == []


@claim("configuration.wrong.redis-options", proves=[promises.SETTINGS_CHECKED], needs=[can.RESTART])
def test_an_option_that_redis_does_not_have_stops_the_start(target: Target) -> None:
    ended = target.try_start({"REDIS_URL": "rediss://127.0.0.1:1/0?ssl_cert_reqs=CERT_NONE"})

    assert (ended.code, ended.listened) == (COULD_NOT_START, False)
    assert "REDIS_URL" in ended.stderr


@claim("configuration.wrong.each-refused", proves=[promises.SETTINGS_CHECKED], needs=[can.SHELL])
def test_a_wrong_value_is_shown_with_what_was_expected(target: Target) -> None:
    ended = target.try_start({"S4_MAX_ITERATIONS": "10.5"})

    told = [line for line in ended.stderr.splitlines() if "S4_MAX_ITERATIONS" in line]
    assert (ended.code, len(told)) == (COULD_NOT_START, 1)
    assert "10.5" in told[0]
    assert "expected" in told[0]


@claim(
    "configuration.wrong.no-secret-shown",
    proves=[promises.SETTINGS_CHECKED, promises.NO_SECRET_LEAVES],
    needs=[can.RESTART],
)
def test_a_start_that_fails_shows_no_secret(target: Target) -> None:
    canary = secrets.token_hex(16)
    wrong = {
        "REDIS_URL": f"http://:{canary}@127.0.0.1:1/0",
        "DATABASE_URL": f"mysql://user:{canary}@127.0.0.1/x",
        "OPENAI_API_KEY": f"sk-{canary}\x07",
        "STRIPE_WEBHOOK_SECRET": f"whsec_{canary},",
        "STRIPE_SECRET_KEY": f"sk_test_{canary}",
        "S4_LLM_TIMEOUT": "abc",
    }

    ended = target.try_start(wrong)

    assert ended.code == COULD_NOT_START
    assert canary not in ended.stderr + ended.stdout


@claim(
    "configuration.production.nothing-missing",
    proves=[promises.SETTINGS_CHECKED, promises.WORKERS_NEED_REDIS],
    needs=[can.RESTART],
)
def test_in_production_everything_that_is_missing_is_named_at_the_start(target: Target) -> None:
    without = {name: value for taken in NEEDED.values() for name, value in taken.items()}

    ended = target.try_start({**PRODUCTION, **without, **AT_ONCE}, workers=2)

    assert (ended.code, ended.listened) == (COULD_NOT_START, False)
    assert [name for name in (*NEEDED, *AT_ONCE) if name not in ended.stderr] == []


@claim(
    "configuration.wrong.contradictions", proves=[promises.SETTINGS_CHECKED], needs=[can.RESTART]
)
def test_settings_that_contradict_each_other_stop_the_start_all_named(target: Target) -> None:
    ended = target.try_start({**PRODUCTION, **CONTRADICTIONS}, workers=2)

    assert (ended.code, ended.listened) == (COULD_NOT_START, False)
    assert [name for name in CONTRADICTED if name not in ended.stderr] == []


@claim(
    "configuration.secrets.with-line-ends",
    proves=[promises.SECRETS_FROM_ENVIRONMENT, promises.PROVIDER_KEYS],
    needs=[can.RESTART, can.USERS, can.SCRIPT, can.LOGS],
)
def test_a_secret_with_a_line_end_works_and_is_never_printed(target: Target) -> None:
    provider = target.provider(target.providers[0])
    target.restart({"OPENAI_API_KEY": f"{provider.key} \r\n"})

    result = target.chat(target.new_user(), "hello")

    assert result.status == 200
    assert [call.key for call in provider.journal()] == [provider.key]
    assert provider.key not in target.raw_log_text()


@claim(
    "configuration.keys.each-providers-own",
    proves=[promises.PROVIDER_KEYS],
    needs=[can.RESTART, can.USERS, can.SCRIPT],
)
def test_a_provider_without_a_key_is_not_called_with_anothers(target: Target) -> None:
    target.restart({"OPENAI_API_KEY": None})

    result = target.chat(target.new_user(), "hello")

    keys = [call.key for call in target.provider("anthropic").journal()]
    assert (result.status, result.body.get("provider")) == (200, "anthropic")
    assert keys == [target.provider("anthropic").key]
    assert target.provider("openai").journal() == []


@claim("configuration.doctor", proves=[promises.SETTINGS_CHECKED], needs=[can.SHELL, can.CANARIES])
def test_the_doctor_tells_effective_settings_and_no_secret(target: Target) -> None:
    told = target.shell(["doctor", "--json"])
    found = json.loads(told.stdout)
    provider, default = found["settings"]["OPENAI_BASE_URL"], found["settings"]["KEEP_ALIVE_S"]

    assert told.code == 0
    assert provider["from"] == "environment"
    assert provider["value"].startswith("http://127.0.0.1:")
    assert (default["value"], default["from"]) == (75.0, "default")
    assert found["checks"]["redis"]["version"][:1].isdigit()
    assert found["checks"]["database"]["ok"]
    assert [name for name, secret in target.canaries.items() if secret in told.stdout] == []


@claim(
    "configuration.doctor.defaults",
    proves=[promises.SETTINGS_CHECKED, promises.DRAINS],
    needs=[can.SHELL],
)
def test_what_nobody_sets_stands_at_the_number_that_is_promised(target: Target) -> None:
    doctor = target.shell(["doctor", "--json"], env=dict.fromkeys(DEFAULTS))
    told = json.loads(doctor.stdout)["settings"]

    assert {name: told[name]["value"] for name in DEFAULTS} == DEFAULTS
    assert {told[name]["from"] for name in DEFAULTS} == {"default"}


@claim(
    "configuration.wrong.place-unusable",
    proves=[promises.SETTINGS_CHECKED],
    needs=[can.RESTART, can.SHELL],
)
def test_an_address_in_use_and_a_folder_that_cannot_be_are_told_at_the_start(
    target: Target,
) -> None:
    folder, port = "/dev/null/data", str(urlsplit(target.base_url).port)

    nowhere = target.try_start({"LLMHIVE_DATA_DIR": folder})
    taken = target.shell(["serve", "--port", port])

    told = (nowhere.stderr, taken.stderr)
    assert (nowhere.code, nowhere.listened, taken.code) == (COULD_NOT_START, False, COULD_NOT_START)
    assert (folder in told[0], f"--port {port}" in told[1]) == (True, True)
    assert [text for text in told if "Traceback" in text] == []


@claim(
    "configuration.migrations",
    proves=[promises.MIGRATIONS, promises.READINESS],
    needs=[can.RESTART],
)
def test_a_database_that_is_not_migrated_is_not_ready_until_it_is(target: Target) -> None:
    with target.beside({"LLMHIVE_ENVIRONMENT": "staging"}) as (beside, run):
        before = beside.get(http.READY.path)
        named = (beside.get(http.HEALTH.path).json() or {})["components"]["database"]["state"]
        doubted = run(["doctor"])
        migrated = run(["migrate"])
        after = eventually(
            lambda: beside.get(http.READY.path),
            until=lambda answer: answer.status == 200,
            within_s=10.0,
            claim="a migrated database makes it ready",
        )
        again, trusted = run(["migrate"]), run(["doctor"])

    assert (before.status, named) == (503, "not_migrated")
    assert (migrated.code, again.code, after.status) == (0, 0, 200)
    assert (doubted.code, trusted.code) == (1, 0)
    assert "llmhive migrate" in doubted.stdout
