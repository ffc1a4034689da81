"""The settings of a stack that the suite starts: what is shrunk and why, and the canaries.

A claim's own `env` wins over everything here. What is not named here stands at the
service's default, which is what the promise is about.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from verification.harness import capabilities as can
from verification.harness import clock
from verification.harness.metrics_view import MetricsRoute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verification.harness.stack.model import Stack

# Variable -> value, reason. Nothing here may weaken a promise that a claim judges: the claim
# on a number sets that number itself.
SHRUNK: Final[dict[str, tuple[str, str]]] = {
    "LLMHIVE_ENVIRONMENT": ("development", "pending migrations run at the start, on SQLite"),
    "DRAIN_SECONDS": ("0.05", "a stop takes a moment rather than 5 s"),
    "SHUTDOWN_GRACE_S": ("5", "what is in flight belongs to claims that wait seconds at most"),
    "HEALTH_PROBE_INTERVAL_S": ("0.2", "health shows a fault while the fault lasts"),
    "S4_LLM_TIMEOUT": ("3", "a hanging provider is found out within a claim's patience"),
    "S4_MAX_WALL_CLOCK": ("12", "four attempts of S4_LLM_TIMEOUT, as many as fit into 120 s"),
    "S4_STREAM_IDLE_TIMEOUT": ("2", "half of S4_LLM_TIMEOUT, as by default"),
    "RETRY_BASE_S": ("0.02", "three attempts take tens of ms"),
    "RETRY_CAP_S": ("0.2", "in the proportion of the defaults"),
    "BREAKER_OPEN_S": ("1", "a claim can wait for half-open"),
    "BREAKER_OPEN_MAX_S": ("4", "growth shows after two failed probes"),
    "STRIPE_TIMEOUT_S": ("1", "a hanging Stripe is found out within a claim's patience"),
}

PRICES: Final = {
    "basic": "price_basic",
    "pro": "price_pro",
    "enterprise": "price_enterprise",
}
"""Tier -> the Stripe price that stands for it."""

PROVIDERS: Final = ("openai", "anthropic")
"""The chat providers that have simulators, in the service's default order."""


SECRETS: Final = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "METRICS_TOKEN",
)
"""Variables whose value is a secret, or several with commas between."""


@dataclass(frozen=True, slots=True)
class Canaries:
    """A unique secret per configured key: wherever one shows up, that key has leaked."""

    openai: str
    anthropic: str
    stripe: str
    webhook: str
    redis_password: str


def capabilities() -> frozenset[str]:
    """What every stack that the suite starts can do: clocks only where libfaketime is."""
    return can.LOCAL | ({can.CLOCK} if clock.faketime() else set())


def new_canaries() -> Canaries:
    """Fresh secrets in the shape of each vendor's, long enough never to occur by chance."""
    return Canaries(
        openai=f"sk-proj-canary{secrets.token_hex(20)}",
        anthropic=f"sk-ant-api03-canary{secrets.token_hex(20)}",
        stripe=f"sk_test_canary{secrets.token_hex(20)}",
        webhook=f"whsec_canary{secrets.token_hex(20)}",
        redis_password=f"canary{secrets.token_hex(16)}",
    )


def settings(canaries: Canaries, *, redis_url: str, urls: dict[str, str]) -> dict[str, str]:
    """The variables of a service whose dependencies stand at these addresses.

    Takes: `urls` for "openai", "anthropic" and "stripe", as the service is to reach them.
    """
    prices = {f"STRIPE_PRICE_ID_{tier.upper()}_MONTHLY": price for tier, price in PRICES.items()}
    return {
        **{name: value for name, (value, _) in SHRUNK.items()},
        **prices,
        "REDIS_URL": redis_url,
        "LLM_PROVIDERS": ",".join(PROVIDERS),
        "OPENAI_API_KEY": canaries.openai,
        "OPENAI_BASE_URL": urls["openai"],
        "ANTHROPIC_API_KEY": canaries.anthropic,
        "ANTHROPIC_BASE_URL": urls["anthropic"],
        "STRIPE_SECRET_KEY": canaries.stripe,
        "STRIPE_WEBHOOK_SECRET": canaries.webhook,
        "STRIPE_API_BASE": urls["stripe"],
    }


def adopt(stack: Stack, settings: Mapping[str, str]) -> None:
    """Let the stack know what its service was started with; no secret of before is forgotten."""
    stack.settings = dict(settings)
    stack.environment = settings.get("LLMHIVE_ENVIRONMENT", "development")
    stack.webhook_secret = settings.get("STRIPE_WEBHOOK_SECRET", "").split(",")[0]
    stack.metrics = MetricsRoute(settings.get("METRICS_TOKEN"))
    stack.secrets = {**stack.secrets, **secrets_in(settings)}


def secrets_in(settings: Mapping[str, str]) -> dict[str, str]:
    """Name -> each secret in the settings; of REDIS_URL only the password is one."""
    found = {"REDIS_URL password": urlsplit(settings.get("REDIS_URL", "")).password or ""}
    for variable in SECRETS:
        for number, secret in enumerate(settings.get(variable, "").split(",")):
            found[f"{variable} {number + 1}" if number else variable] = secret.strip()
    return {name: secret for name, secret in found.items() if secret}
