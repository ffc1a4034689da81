"""Settings are read strictly, all problems are told at once, and no secret is ever told."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmhive.app import setting_kinds
from llmhive.app.adapters.redis_link import RedisLink
from llmhive.app.errors import ConfigurationError
from llmhive.app.settings import Settings, TierBudget

CANARY = "sk-proj-canary0123456789"
PRODUCTION = {
    "LLMHIVE_ENVIRONMENT": "production",
    "LLMHIVE_DATA_DIR": "data",
    "OPENAI_API_KEY": CANARY,
    "STRIPE_SECRET_KEY": "sk_live_canary",
    "STRIPE_WEBHOOK_SECRET": "whsec_canary1",
    "STRIPE_PRICE_ID_BASIC_MONTHLY": "price_1",
    "STRIPE_PRICE_ID_PRO_MONTHLY": "price_2",
    "STRIPE_PRICE_ID_ENTERPRISE_MONTHLY": "price_3",
}


def refused(environ: dict[str, str], workers: int = 1) -> dict[str, str]:
    """Variable -> what was expected of it."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.parse(environ, workers=workers)
    return {problem.variable: problem.expected for problem in caught.value.problems}


def test_nothing_set_gives_the_documented_defaults() -> None:
    settings = Settings.parse({}, workers=3)

    assert settings.s4_llm_timeout == 30.0
    assert settings.rate_limit_tiers["free"] == TierBudget(10, 10_000, 2)
    assert (settings.rate_limit_workers, settings.shutdown_grace_s) == (3, 120.0)


def test_the_database_is_a_file_in_the_data_folder_unless_named() -> None:
    settings = Settings.parse({"LLMHIVE_DATA_DIR": "/srv/hive"})

    assert settings.database_url == "sqlite:////srv/hive/llmhive.db"
    assert settings.llmhive_data_dir == Path("/srv/hive")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("S4_LLM_TIMEOUT", "abc"),
        ("S4_LLM_TIMEOUT", "nan"),
        ("S4_LLM_TIMEOUT", "inf"),
        ("S4_LLM_TIMEOUT", "-1"),
        ("S4_LLM_TIMEOUT", "0"),
        ("S4_LLM_TIMEOUT", "1e9"),
        ("S4_MAX_ITERATIONS", "2.5"),
        ("S4_MAX_ITERATIONS", "1_0"),
        ("S4_MAX_ITERATIONS", "٣"),
        ("BREAKER_FAILURE_RATIO", "1.5"),
        ("LOG_LEVEL", "LOUD"),
        ("LLMHIVE_ENVIRONMENT", "prod"),
        ("REDIS_URL", "http://localhost"),
        ("REDIS_URL", "redis://localhost:99999"),
        ("DATABASE_URL", "mysql://localhost/hive"),
        ("DATABASE_URL", "sqlite:///"),
        ("DATABASE_URL", "sqlite:hive.db"),
        ("DATABASE_URL", "sqlite:/data/hive.db"),
        ("DATABASE_URL", "SQLITE:///hive.db"),
        ("REDIS_URL", "redis+tls://localhost:6379/0"),
        ("OPENAI_BASE_URL", "https+x://api.openai.com"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "sqlite:///hive.db?timeout=soon"),
        ("DATABASE_URL", "sqlite+aiosqlite:///hive.db"),
        ("DATABASE_URL", "postgresql+asyncpg://localhost/hive"),
        ("REDIS_URL", "redis://localhost/zero"),
        ("REDIS_URL", "redis://localhost/0?foo=1"),
        ("REDIS_URL", "redis://localhost/0?ssl_cert_reqs=none"),
        ("REDIS_URL", "rediss://localhost/0?ssl_cert_reqs=CERT_NONE"),
        ("REDIS_URL", "rediss://localhost/0?ssl_check_hostname=false&decode_responses=1"),
        ("REDIS_URL", "rediss://localhost/0?ssl_ca_certs="),
        ("REDIS_URL", "redis://localhost/0#1"),
        ("OPENAI_BASE_URL", "https://user:pw@api.openai.com"),
        ("OPENAI_BASE_URL", "https://api.openai.com/?version=1"),
        ("STRIPE_API_BASE", "https://api.stripe.com/#v1"),
        ("OPENAI_API_KEY", "short"),
        ("OPENAI_API_KEY", "sk-with a space"),
        ("OPENAI_API_KEY", "sk-with\nnewline"),
        ("LLM_PROVIDERS", "openai,openai"),
        ("LLM_PROVIDERS", "openai,unknown"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "https://app.example.com/path"),
        ("RATE_LIMIT_TIERS", "basic=1:1:1"),
        ("RATE_LIMIT_TIERS", "free=0:1:1"),
        ("RATE_LIMIT_REDIS_PREFIX", "a*b:"),
        ("KEY_CACHE_S", "6"),
    ],
)
def test_a_value_that_cannot_be_read_stops_the_start(variable: str, text: str) -> None:
    assert set(refused({variable: text})) == {variable}


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://:pass-word@localhost:6379/15",
        "rediss://localhost/0?ssl_cert_reqs=none&ssl_check_hostname=false",
        "rediss://localhost/0?ssl_ca_certs=/etc/ca.pem&ssl_certfile=c.pem&ssl_keyfile=k.pem",
    ],
)
async def test_a_redis_url_that_is_taken_can_be_used(url: str) -> None:
    link = RedisLink(Settings.parse({"REDIS_URL": url}).redis_url)

    await link.close()
    assert not link.is_up


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_a_database_needs_its_driver(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"DATABASE_URL": f"{scheme}://user:{CANARY}@localhost/hive"}

    monkeypatch.setattr(setting_kinds, "find_spec", lambda _name: None)
    told = refused(given)
    monkeypatch.setattr(setting_kinds, "find_spec", lambda name: name)

    assert "driver" in told["DATABASE_URL"]
    assert Settings.parse(given).database_url == given["DATABASE_URL"]


def test_space_around_a_value_does_not_count() -> None:
    settings = Settings.parse({"S4_LLM_TIMEOUT": " 10 ", "OPENAI_API_KEY": f"{CANARY}\r\n"})

    assert (settings.s4_llm_timeout, settings.openai_api_key) == (10.0, CANARY)


def test_all_problems_are_told_in_one_message_without_secrets() -> None:
    environ = {
        "S4_LLM_TIMEOUT": "x",
        "RETRY_ATTEMPTS": "0",
        "OPENAI_API_KEY": f"{CANARY} {CANARY}",
        "REDIS_URL": f"http://:{CANARY}@host",
    }

    with pytest.raises(ConfigurationError) as caught:
        Settings.parse(environ)

    assert all(variable in str(caught.value) for variable in environ)
    assert "canary" not in str(caught.value)


def test_what_cannot_be_read_hides_no_other_problem() -> None:
    environ = {"LLMHIVE_ENVIRONMENT": "production", "RETRY_BASE_S": "9", "S4_LLM_TIMEOUT": "x"}

    told = refused(environ | {"STRIPE_SECRET_KEY": "short", "REDIS_URL": "http://"}, workers=2)

    assert {"S4_LLM_TIMEOUT", "RETRY_BASE_S", "STRIPE_WEBHOOK_SECRET"} <= set(told)
    assert "at least 8" in told["STRIPE_SECRET_KEY"]
    assert told["REDIS_URL"].startswith("a URL")


def test_what_cannot_be_read_contradicts_nothing() -> None:
    environ = {"RETRY_BASE_S": "9", "RETRY_CAP_S": "eight"}

    assert set(refused(environ)) == {"RETRY_CAP_S"}


def test_production_demands_everything_at_once() -> None:
    missing = refused({"LLMHIVE_ENVIRONMENT": "production"}, workers=2)

    needed = set(PRODUCTION) - {"LLMHIVE_ENVIRONMENT", "LLMHIVE_DATA_DIR", "OPENAI_API_KEY"}
    assert needed | {"REDIS_URL"} <= set(missing)
    assert any("OPENAI_API_KEY" in variable for variable in missing)
    assert any("LLMHIVE_DATA_DIR" in variable for variable in missing)


def test_production_starts_when_everything_is_there() -> None:
    assert Settings.parse(PRODUCTION).is_production


def test_in_production_a_blank_place_for_the_data_is_none() -> None:
    assert set(refused(PRODUCTION | {"LLMHIVE_DATA_DIR": " "})) == {
        "LLMHIVE_DATA_DIR or DATABASE_URL"
    }


def test_in_production_whoever_can_pay_for_a_tier_has_a_budget() -> None:
    told = refused(PRODUCTION | {"RATE_LIMIT_TIERS": "free=1:1:1,pro=9:9:9"})

    assert set(told) == {"RATE_LIMIT_TIERS"}
    assert told["RATE_LIMIT_TIERS"].endswith(": basic, enterprise")


def test_several_workers_in_production_need_redis() -> None:
    assert set(refused(PRODUCTION, workers=2)) == {"REDIS_URL"}
    assert set(refused(PRODUCTION | {"RATE_LIMIT_WORKERS": "2"})) == {"REDIS_URL"}


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({"RETRY_BASE_S": "9", "RETRY_CAP_S": "8"}, "RETRY_BASE_S"),
        ({"BREAKER_OPEN_S": "301"}, "BREAKER_OPEN_S"),
        ({"RATE_LIMIT_WORKERS": "1"}, "RATE_LIMIT_WORKERS"),
        (
            {"STRIPE_PRICE_ID_PRO_MONTHLY": "p", "STRIPE_PRICE_ID_BASIC_MONTHLY": "p"},
            "STRIPE_PRICE_ID_*",
        ),
    ],
    ids=["retries", "breakers", "workers", "prices"],
)
def test_settings_that_contradict_each_other_stop_the_start(
    environ: dict[str, str], variable: str
) -> None:
    assert set(refused(environ, workers=2)) == {variable}


def test_every_configured_secret_is_known_passwords_in_urls_included() -> None:
    settings = Settings.parse(
        {
            "REDIS_URL": "redis://:p%40ssword@localhost",
            "STRIPE_WEBHOOK_SECRET": "whsec_old12, whsec_new12",
            "METRICS_TOKEN": "metrics-token",
        }
    )

    assert set(settings.secrets) == {
        "p%40ssword", "p@ssword", "whsec_old12", "whsec_new12", "metrics-token",
    }  # fmt: skip
