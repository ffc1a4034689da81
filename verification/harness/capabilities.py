"""What a target may be able to do, by name: claims state these as needs.

A leaf: imports nothing. Source: DESIGN section 4.
"""

from __future__ import annotations

from typing import Final

FAULTS: Final = "faults"
"""Toxiproxy stands before Redis, the providers, Stripe and the service."""
PROXY: Final = "proxy"
"""Toxiproxy stands before the service, for whoever goes to it by `proxied_url`."""
REDIS_READ: Final = "redis_read"
"""Redis can be read."""
REDIS_WRITE: Final = "redis_write"
"""Redis can be changed, as an operator or a fault would."""
RESTART: Final = "restart"
"""The service can be stopped, killed and started again."""
WORKERS: Final = "workers"
"""More than one worker process can be asked for, told apart and killed singly."""
STRIPE_SECRET: Final = "stripe_secret"  # noqa: S105  a capability's name
"""The webhook secret is known, so that events can be signed."""
USERS: Final = "users"
"""Users of any tier can be made."""
LOGS: Final = "logs"
"""The service's log can be read."""
METRICS: Final = "metrics"
"""The metrics can be read."""
SCRIPT: Final = "script"
"""Providers and Stripe are simulators whose answers can be scripted, and read back."""
SHELL: Final = "shell"
"""The service's own commands can be run in its environment."""
SHRINK: Final = "shrink"
"""The service can be started with other settings."""
DATABASE: Final = "database"
"""The SQLite file can be locked from outside."""
CANARIES: Final = "canaries"
"""Every configured secret is known to the suite, so that a leak can be recognised."""
CLOCK: Final = "clock"
"""The service's wall clock can be shifted (libfaketime is installed)."""
ADMIN: Final = "admin"
"""The operators' routes can be called: there is a key with scope `admin`."""
POSTGRES: Final = "postgres"
"""The service runs on PostgreSQL."""

EVERY: Final = frozenset(
    {
        FAULTS,
        PROXY,
        REDIS_READ,
        REDIS_WRITE,
        RESTART,
        WORKERS,
        STRIPE_SECRET,
        USERS,
        LOGS,
        METRICS,
        SCRIPT,
        SHELL,
        SHRINK,
        DATABASE,
        CANARIES,
        CLOCK,
        ADMIN,
        POSTGRES,
    }
)
"""All names that a target file or a claim may use."""

LOCAL: Final = EVERY - {CLOCK, POSTGRES}
"""What the stacks that the suite starts itself can do."""
