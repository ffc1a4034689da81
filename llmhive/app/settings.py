"""Every setting of the service: one row per variable, parsed strictly, all problems at once.

The field's name in upper case is the variable. A value that cannot be read stops the start
in every mode; what production needs besides is asked for there only. Secrets never stand in
a problem. Nothing else reads the environment. Source: checklist, "Required Environment
Variables"; DESIGN.md, section 3.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

from llmhive.app import setting_kinds as kinds
from llmhive.app.errors import ConfigurationError, Problem
from llmhive.app.setting_kinds import Kind, TierBudget, Unreadable

__all__ = ["Environment", "Settings", "TierBudget", "read_environment"]

TIERS: Final = "free=10:10000:2,basic=30:50000:4,pro=100:500000:16,enterprise=1000:2000000:64"


class Environment(StrEnum):
    """What the service is for."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


def row(kind: Kind, default: str, about: str, *, line: str = "") -> Any:
    """One variable: how it is read, its default as one would write it, what it is for.

    `line` is the line of the checklist that names it, if one does.
    """
    return field(metadata={"kind": kind, "default": default, "about": about, "line": line})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration. Made by `Settings.parse` only, from a mapping of variables."""

    # What this is, and where it keeps things
    llmhive_environment: str = row(
        kinds.choice(*Environment), "development", "production refuses to start half configured"
    )
    llmhive_instance: str = row(kinds.text(64), "", "any text, shown by health and X-Served-By")
    llmhive_data_dir: Path = row(  # noqa: RUF009  a field, made by a function
        kinds.path(), "./llmhive-data", "database, counters, run files"
    )
    database_url: str = row(
        kinds.database_url(),
        "",
        "unset: the file llmhive.db in the data folder",
        line="Database migrations applied",
    )
    database_busy_timeout_s: float = row(
        kinds.seconds(60), "2", "how long a writer waits for SQLite's lock"
    )
    log_level: str = row(
        kinds.choice("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        "INFO",
        "the least level that is written",
        line="LOG_LEVEL=INFO",
    )
    # About 3 MB, and a second of lines at ten times the rate that one worker reaches.
    log_queue_lines: int = row(
        kinds.whole(1, 1_000_000), "10000", "that wait for whoever reads the log; more are dropped"
    )

    # One request
    s4_coref_timeout: float = row(
        kinds.seconds(600), "5.0", "coreference resolution", line="S4_COREF_TIMEOUT=5.0"
    )
    s4_llm_timeout: float = row(
        kinds.seconds(600), "30.0", "one call of a provider", line="S4_LLM_TIMEOUT=30.0"
    )
    s4_max_iterations: int = row(
        kinds.whole(1, 100), "10", "refinement rounds per request", line="S4_MAX_ITERATIONS=10"
    )
    s4_max_wall_clock: float = row(
        kinds.seconds(3600), "120.0", "a request as a whole", line="S4_MAX_WALL_CLOCK=120.0"
    )
    s4_stream_idle_timeout: float = row(
        kinds.seconds(600), "15.0", "between two chunks of a provider's stream"
    )
    s4_trial_counter_path: str = row(
        kinds.text(4096),
        "",
        "unset: inside the data folder",
        line="S4_TRIAL_COUNTER_PATH=/data/trial_counters.json",
    )
    chat_body_bytes_max: int = row(
        kinds.whole(1000, 100_000_000), "1000000", "bytes of a chat request's body"
    )
    body_deadline_s: float = row(
        kinds.seconds(600), "30", "from a request's head to the last byte of its body"
    )
    unread_deadline_s: float = row(
        kinds.seconds(3600), "60", "for which a caller may read nothing of an answer"
    )

    # Redis and limits
    redis_url: str = row(
        kinds.redis_url(),
        "",
        "unset: every worker limits for itself",
        line="REDIS_URL=redis://localhost:6379/0",
    )
    redis_max_connections: int = row(
        kinds.whole(1, 10_000), "10", "per worker", line="REDIS_MAX_CONNECTIONS=10"
    )
    redis_deadline_s: float = row(kinds.seconds(5), "0.05", "the longest wait for a reply of Redis")
    rate_limit_redis_prefix: str = row(
        kinds.prefix(),
        "llmhive:ratelimit:",
        "what the keys of the windows begin with",
        line="RATE_LIMIT_REDIS_PREFIX=llmhive:ratelimit:",
    )
    rate_limit_window_s: float = row(kinds.seconds(86_400), "60", "the rolling window")
    rate_limit_workers: int = row(
        kinds.whole(0, 10_000), "0", "over all hosts; 0 or unset: --workers"
    )
    rate_limit_tiers: Mapping[str, TierBudget] = row(
        kinds.tiers(), TIERS, "tier=requests:tokens:in_flight per window"
    )
    rate_limit_inflight_lease_s: float = row(
        kinds.seconds(600), "15", "after which a killed worker's slots return"
    )

    # Breakers and retries
    breaker_window_s: float = row(kinds.seconds(3600), "30", "over which outcomes count")
    breaker_min_failures: int = row(kinds.whole(1, 10_000), "5", "fewer never open a breaker")
    breaker_failure_ratio: float = row(kinds.ratio(), "0.5", "of the attempts, from which it opens")
    breaker_open_s: float = row(kinds.seconds(3600), "30", "the first rest")
    breaker_open_max_s: float = row(kinds.seconds(86_400), "300", "the longest rest")
    breaker_probes: int = row(kinds.whole(1, 100), "3", "at once, over all workers")
    breaker_successes: int = row(kinds.whole(1, 100), "3", "of probes that close a breaker")
    retry_attempts: int = row(kinds.whole(1, 20), "3", "per provider, the first one included")
    retry_base_s: float = row(kinds.seconds(60), "0.5", "the first ceiling of the jitter")
    retry_cap_s: float = row(kinds.seconds(600), "8", "the last ceiling of the jitter")
    retry_budget_start: float = row(kinds.number(0, 10_000), "10", "retries that are free")
    retry_budget_ratio: float = row(kinds.number(0, 10), "0.2", "retries earned by a first attempt")

    # Providers
    llm_providers: tuple[str, ...] = row(
        kinds.names("openai", "anthropic"),
        "openai,anthropic",
        "in the order in which they are tried",
    )
    openai_api_key: str = row(kinds.secret(), "", "OpenAI", line="OPENAI_API_KEY=...")
    openai_base_url: str = row(kinds.url("https", "http"), "https://api.openai.com", "OpenAI")
    openai_model: str = row(kinds.text(128), "gpt-4o", "asked for by default")
    anthropic_api_key: str = row(kinds.secret(), "", "Anthropic", line="ANTHROPIC_API_KEY=...")
    anthropic_base_url: str = row(
        kinds.url("https", "http"), "https://api.anthropic.com", "Anthropic"
    )
    anthropic_model: str = row(kinds.text(128), "claude-sonnet-4-5", "asked for by default")
    llm_max_tokens: int = row(kinds.whole(1, 1_000_000), "1024", "of one answer")

    # Billing
    stripe_secret_key: str = row(
        kinds.secret(), "", "Stripe's API", line="STRIPE_SECRET_KEY=sk_live_..."
    )
    stripe_webhook_secret: tuple[str, ...] = row(
        kinds.secrets(),
        "",
        "several with commas between, while one is rotated",
        line="STRIPE_WEBHOOK_SECRET=whsec_...",
    )
    stripe_price_id_basic_monthly: str = row(
        kinds.text(255), "", "basic", line="STRIPE_PRICE_ID_BASIC_MONTHLY=price_..."
    )
    stripe_price_id_pro_monthly: str = row(
        kinds.text(255), "", "pro", line="STRIPE_PRICE_ID_PRO_MONTHLY=price_..."
    )
    stripe_price_id_enterprise_monthly: str = row(
        kinds.text(255), "", "enterprise", line="STRIPE_PRICE_ID_ENTERPRISE_MONTHLY=price_..."
    )
    stripe_api_base: str = row(kinds.url("https", "http"), "https://api.stripe.com", "Stripe")
    stripe_timeout_s: float = row(kinds.seconds(60), "5", "one call of Stripe")
    stripe_webhook_tolerance_s: float = row(
        kinds.seconds(86_400), "300", "by which a signature may be older or newer"
    )
    billing_event_lease_s: float = row(kinds.seconds(600), "15", "of a delivery on its event")
    billing_event_attempts: int = row(kinds.whole(1, 100), "8", "after which an event is dead")
    billing_grace_days: float = row(kinds.number(0, 365), "7", "days after a failed payment")
    webhook_body_bytes_max: int = row(
        kinds.whole(1000, 10_000_000), "256000", "bytes of a delivery"
    )

    # Running it
    drain_seconds: float = row(
        kinds.seconds(600, zero=True), "5", "after SIGTERM, still accepting but not ready"
    )
    shutdown_grace_s: float = row(
        kinds.seconds(3600, zero=True, optional=True),
        "",
        "for what is in flight; unset: wall clock",
    )
    metrics_token: str = row(kinds.secret(), "", "unset: /api/metrics is open")
    cors_origins: tuple[str, ...] = row(
        kinds.origins(), "", "web origins, commas between", line="CORS properly configured"
    )
    health_probe_interval_s: float = row(kinds.seconds(60), "1", "between two real checks")
    key_cache_s: float = row(
        kinds.seconds(5, zero=True), "2", "a known key is not looked up again; 5 is promised"
    )
    key_cache_stale_s: float = row(
        kinds.seconds(60, zero=True), "60", "for which a known key works without the database"
    )
    keep_alive_s: float = row(
        kinds.seconds(3600), "75", "an idle connection is kept; above the balancer's 60"
    )

    @property
    def is_production(self) -> bool:
        """Whether the strict rules hold."""
        return self.llmhive_environment == Environment.PRODUCTION

    @property
    def secrets(self) -> tuple[str, ...]:
        """The value of every configured secret, passwords inside URLs included."""
        found: list[str] = []
        for spec in fields(self):
            kind: Kind = spec.metadata["kind"]
            found += kind.secrets_in(getattr(self, spec.name))
        return tuple(found)

    def provider_key(self, provider: str) -> str:
        """The key of a provider by its name in LLM_PROVIDERS; empty when there is none."""
        key: str = getattr(self, f"{provider}_api_key")
        return key

    @property
    def prices(self) -> dict[str, str]:
        """Stripe's price id -> tier, for the prices that are configured."""
        named = {tier: getattr(self, f"stripe_price_id_{tier}_monthly") for tier in PAID_TIERS}
        return {price: tier for tier, price in named.items() if price}

    @classmethod
    def parse(cls, environ: Mapping[str, str], *, workers: int = 1) -> Settings:
        """Read all variables, strictly; where it cannot be told, development is meant.

        Raises: ConfigurationError with every problem at once.
        """
        values: dict[str, Any] = {}
        unreadable: dict[str, Problem] = {}
        for spec in fields(cls):
            kind: Kind = spec.metadata["kind"]
            variable, given = spec.name.upper(), environ.get(spec.name.upper(), "").strip()
            try:
                values[spec.name] = kind.read(given or spec.metadata["default"])
            except Unreadable as error:
                unreadable[spec.name] = Problem(variable, error.expected, kind.shown(given))
                values[spec.name] = kind.read(spec.metadata["default"])
        settings = cls(**_derived(values, workers))
        found = _contradictions(settings, workers)
        if settings.is_production:
            found += _missing_in_production(settings, environ)
        # What was given and cannot be read is neither missing nor in contradiction.
        problems = [*unreadable.values()]
        problems += [each.problem for each in found if not each.settings & unreadable.keys()]
        if problems:
            raise ConfigurationError(problems)
        return settings


PAID_TIERS: Final = ("basic", "pro", "enterprise")


def _derived(values: dict[str, Any], workers: int) -> dict[str, Any]:
    folder: Path = values["llmhive_data_dir"].absolute()
    values["llmhive_data_dir"] = folder
    values["database_url"] = values["database_url"] or f"sqlite:///{folder / 'llmhive.db'}"
    values["rate_limit_workers"] = values["rate_limit_workers"] or workers
    if values["shutdown_grace_s"] is None:
        values["shutdown_grace_s"] = values["s4_max_wall_clock"]
    return values


class _Found(NamedTuple):
    """A problem that several settings make together."""

    settings: frozenset[str]
    problem: Problem


def _contradictions(settings: Settings, workers: int) -> list[_Found]:
    ordered = [("retry_base_s", "retry_cap_s"), ("breaker_open_s", "breaker_open_max_s")]
    if settings.is_production:
        # The wall clock would win; elsewhere that is how one shrinks a request.
        ordered += [
            ("s4_llm_timeout", "s4_max_wall_clock"),
            ("s4_coref_timeout", "s4_max_wall_clock"),
            ("s4_stream_idle_timeout", "s4_max_wall_clock"),
        ]
    found = [
        _Found(
            frozenset({lower, upper}),
            Problem(
                lower.upper(),
                f"at most {upper.upper()} ({getattr(settings, upper):g})",
                f"{getattr(settings, lower):g}",
            ),
        )
        for lower, upper in ordered
        if getattr(settings, lower) > getattr(settings, upper)
    ]
    if settings.rate_limit_workers < workers:
        expected = f"at least --workers ({workers}), since it counts all hosts"
        problem = Problem("RATE_LIMIT_WORKERS", expected, str(settings.rate_limit_workers))
        found.append(_Found(frozenset({"rate_limit_workers"}), problem))
    if len(settings.prices) < sum(bool(price) for price in _price_ids(settings)):
        problem = Problem("STRIPE_PRICE_ID_*", "a price of its own per tier", "one twice")
        found.append(_Found(frozenset(), problem))
    return found


def _price_ids(settings: Settings) -> list[str]:
    return [getattr(settings, f"stripe_price_id_{tier}_monthly") for tier in PAID_TIERS]


def _missing_in_production(settings: Settings, given: Mapping[str, str]) -> list[_Found]:
    stripe = [spec.name for spec in fields(settings) if spec.metadata["default"] == ""]
    needed: dict[tuple[str, ...], str] = {
        (name,): "a value in production"
        for name in stripe
        if name.startswith("stripe_") and not getattr(settings, name)
    }
    if not any(settings.provider_key(provider) for provider in settings.llm_providers):
        needed["openai_api_key", "anthropic_api_key"] = "the key of a provider in LLM_PROVIDERS"
    if settings.rate_limit_workers > 1 and not settings.redis_url:
        expected = f"a value in production with {settings.rate_limit_workers} workers"
        needed["redis_url",] = expected
    without = [tier for tier in settings.prices.values() if tier not in settings.rate_limit_tiers]
    if without:
        needed["rate_limit_tiers",] = f"a budget for what has a price: {', '.join(without)}"
    places = ("llmhive_data_dir", "database_url")
    if not any(given.get(name.upper(), "").strip() for name in places):
        needed[places] = "a value in production"
    return [
        _Found(
            frozenset(names),
            Problem(" or ".join(name.upper() for name in names), expected, "nothing"),
        )
        for names, expected in needed.items()
    ]


def read_environment() -> dict[str, str]:
    """The environment of this process, read here and nowhere else."""
    return dict(os.environ)
