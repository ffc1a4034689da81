"""A target file to begin with: commented, and filled in as far as its service and secrets tell.

Asked by one GET of health what it is, a service fills in its own pin. From a file of secrets
(`NAME=value` lines, as `nox -s serve` keeps one) only names are taken, never a value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from verification.harness import capabilities as can
from verification.harness.http_client import Http
from verification.harness.stack.model import StackError
from verification.harness.staging.sighting import LOOK_WITHIN_S

if TYPE_CHECKING:
    from pathlib import Path

TEXT: Final = """\
# A service that the suite did not start. Nothing but GET requests goes out before the service
# has answered with the environment and the instance named here.

[target]
base_url = "{base_url}"
environment = "{environment}"  # what /api/health says as "environment"
instance = "{instance}"  # what /api/health says as "instance"
workers = {workers}  # worker processes behind the URL: with more, claims that need two are asked
# Of: users, admin, stripe_secret, metrics, redis_read.
# What is left out is "unverified" in the report.
capabilities = {capabilities}
providers = {providers}

# A hard stop: whatever would go beyond is not sent, and the claims that wanted it are "unknown".
[limits]
hosts = ["{host}"]  # nothing else is ever touched
requests = 5000
tokens = 500000  # of the providers, both kinds
money = 5.00
# error_ratio = 0.05  # a load run stops when more than this share of answers fails

# What one chat costs: for the estimate before a run, and until an answer says what it used.
[prices]
tokens_per_chat = 200
per_1k_tokens = 0.01
currency = "USD"

# Secrets are references: env:NAME reads a variable, file:PATH a file, file:PATH#NAME the line
# NAME=... of a file. Never the secret itself.
[secrets]
# Makes users, takes the lease of a run, removes what was made.
admin_key = "{admin_key}"
{others}
# redis_url = "env:STAGING_REDIS_URL"  # its host has to stand in limits.hosts as well

# Without admin_key users are lent from here, each to one claim per run: list as many as you can.
# [[users]]
# id = "verify-free-1"
# tier = "free"
# key = "env:STAGING_KEY_FREE_1"
# customer = "cus_..."
"""
# How a line of a file of secrets is known, and what it lends: the secret's name and capability.
KNOWN: Final = {
    "STRIPE_WEBHOOK_SECRET": ("stripe_webhook", can.STRIPE_SECRET),
    "METRICS_TOKEN": ("metrics_token", can.METRICS),
}
ADMIN: Final = "ADMIN"
WORKERS: Final = 1


@dataclass(slots=True)
class Example:
    """What is filled in."""

    base_url: str = "https://staging.example.com"
    environment: str = "staging"
    instance: str = "staging-1"
    providers: list[str] = field(default_factory=lambda: ["openai", "anthropic"])
    admin_key: str = "env:STAGING_ADMIN_KEY"
    others: dict[str, str] = field(default_factory=dict)
    """Name of a secret -> reference."""
    capabilities: list[str] = field(default_factory=lambda: [can.USERS, can.ADMIN, can.METRICS])

    def text(self) -> str:
        """The file."""
        others = [f'{name} = "{reference}"' for name, reference in self.others.items()]
        unset = {"stripe_webhook", "metrics_token"} - set(self.others)
        others += [f'# {name} = "env:STAGING_{name.upper()}"' for name in sorted(unset)]
        return TEXT.format(
            base_url=self.base_url,
            environment=self.environment,
            instance=self.instance,
            workers=WORKERS,
            host=urlsplit(self.base_url).hostname or "",
            capabilities=_list(self.capabilities),
            providers=_list(self.providers),
            admin_key=self.admin_key,
            others="\n".join(others),
        )

    def ask(self, url: str) -> None:
        """Fill in what the service at that URL says that it is.

        Raises: StackError when nothing like it answers there.
        """
        answer = Http(url, trust_env=True).get("/api/health", timeout_s=LOOK_WITHIN_S)
        health: Any = answer.json()
        if not isinstance(health, dict) or not {"instance", "environment"} <= set(health):
            raise StackError(f"{url}: expected this service's health, got {answer}")
        self.base_url = url.rstrip("/")
        self.environment, self.instance = str(health["environment"]), str(health["instance"])
        components = health.get("components") or {}
        named = [name.partition(":") for name in components]
        self.providers = [name for kind, _, name in named if kind == "provider"]

    def refer_to(self, secrets: Path) -> None:
        """Fill in references to the lines of a file of secrets that are known by their names.

        Raises: OSError when it cannot be read.
        """
        lines = secrets.read_text("utf-8").splitlines()
        for name in (line.partition("=")[0] for line in lines if "=" in line):
            reference = f"file:{secrets.resolve()}#{name}"
            if ADMIN in name:
                self.admin_key = reference
            elif name in KNOWN:
                secret, capability = KNOWN[name]
                self.others[secret] = reference
                self.capabilities = list(dict.fromkeys([*self.capabilities, capability]))


def _list(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
