"""Settings become the features' own configurations here, and nowhere else."""

from __future__ import annotations

from typing import Final

from llmhive.app.accounts.model import AccountConfig
from llmhive.app.billing.model import DAY_S, BillingConfig
from llmhive.app.breakers.model import BreakerConfig
from llmhive.app.limits.model import LimitConfig, Tier
from llmhive.app.orchestration.model import ChatConfig
from llmhive.app.orchestration.retries import RetryConfig
from llmhive.app.settings import Settings

# One credential per provider so far; the number is its place in the configuration.
CREDENTIAL: Final = 0


def accounts(settings: Settings) -> AccountConfig:
    """The numbers of key lookups."""
    return AccountConfig(
        cache_s=settings.key_cache_s,
        stale_s=settings.key_cache_stale_s,
        tiers=tuple(settings.rate_limit_tiers),
    )


def limits(settings: Settings) -> LimitConfig:
    """The limits of every tier."""
    tiers = {
        name: Tier(budget.requests, budget.tokens, budget.in_flight)
        for name, budget in settings.rate_limit_tiers.items()
    }
    return LimitConfig(
        tiers=tiers,
        window_s=settings.rate_limit_window_s,
        workers=settings.rate_limit_workers,
        lease_s=settings.rate_limit_inflight_lease_s,
    )


def breakers(settings: Settings) -> BreakerConfig:
    """The numbers of every breaker; a probe's lease is an attempt and a second."""
    return BreakerConfig(
        window_s=settings.breaker_window_s,
        min_failures=settings.breaker_min_failures,
        failure_ratio=settings.breaker_failure_ratio,
        open_s=settings.breaker_open_s,
        open_max_s=settings.breaker_open_max_s,
        probes=settings.breaker_probes,
        successes=settings.breaker_successes,
        lease_s=settings.s4_llm_timeout + 1.0,
    )


def chat(settings: Settings) -> ChatConfig:
    """The numbers of a chat request."""
    return ChatConfig(
        llm_timeout_s=settings.s4_llm_timeout,
        stream_idle_timeout_s=settings.s4_stream_idle_timeout,
        retry=RetryConfig(
            attempts=settings.retry_attempts,
            base_s=settings.retry_base_s,
            cap_s=settings.retry_cap_s,
            budget_start=settings.retry_budget_start,
            budget_ratio=settings.retry_budget_ratio,
        ),
    )


def models(settings: Settings) -> dict[str, str]:
    """Provider -> model, for the providers that have a key, in their order."""
    return {
        provider: str(getattr(settings, f"{provider}_model"))
        for provider in settings.llm_providers
        if settings.provider_key(provider)
    }


def breakers_of(settings: Settings) -> dict[str, list[str]]:
    """Provider -> its breakers: one per model and credential."""
    return {
        provider: [f"{provider}:{model}:{CREDENTIAL}"]
        for provider, model in models(settings).items()
    }


def breaker_names(settings: Settings) -> list[str]:
    """Every breaker, the providers' parents included."""
    names = breakers_of(settings)
    return [*names, *(name for children in names.values() for name in children)]


def billing(settings: Settings) -> BillingConfig:
    """The numbers of billing; which mode counts follows from Stripe's key."""
    kind = settings.stripe_secret_key.split("_")[1:2]
    return BillingConfig(
        prices=settings.prices,
        is_live={"live": True, "test": False}.get("".join(kind)),
        tolerance_s=settings.stripe_webhook_tolerance_s,
        lease_s=settings.billing_event_lease_s,
        attempts_max=settings.billing_event_attempts,
        grace_s=settings.billing_grace_days * DAY_S,
    )
