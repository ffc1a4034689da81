"""What settings, starts and stops promise. Source: DESIGN section 3 and the checklist."""

from __future__ import annotations

from typing import Final

from verification.contract.promise import promise

_SETTINGS = "DESIGN 3, 3.8; checklist, Required Environment Variables"

SETTINGS_CHECKED: Final = promise(
    _SETTINGS,
    "settings.checked",
    "a missing or wrong setting stops the start with all problems in one message",
)
SECRETS_FROM_ENVIRONMENT: Final = promise(
    _SETTINGS,
    "settings.secrets-from-environment",
    "secrets are taken from the environment",
    "secrets.always.from-environment-or-manager",
)
PROVIDER_KEYS: Final = promise(
    _SETTINGS,
    "settings.provider-keys",
    "each provider is called with its configured key",
    "env.apis.openai",
    "env.apis.anthropic",
    "predeploy.integration.api-keys-valid",
)
MIGRATIONS: Final = promise(
    "DESIGN 3.1; checklist, Infrastructure",
    "deployment.migrations",
    "a database that is not migrated is not ready, and migrating mends that",
    "predeploy.infra.migrations-applied",
)
DRAINS: Final = promise(
    "DESIGN 3.8; checklist, Rollback Procedure",
    "deployment.drains",
    "SIGTERM: not ready at once, what is in flight is finished, exit 0",
)
WORKERS_RETURN: Final = promise(
    "DESIGN 3.8",
    "deployment.workers-return",
    "a killed worker is replaced and takes nothing with it",
)
STATE_CLEARED: Final = promise(
    "checklist, Rollback Procedure",
    "deployment.state-cleared",
    "clearing Redis leaves a service that works",
    "rollback.redis-state-cleared",
)
NOBODY_WAITS_FOR_OTHERS: Final = promise(
    "DESIGN 3.9",
    "deployment.nobody-waits-for-others",
    "what one request waits for holds up no other",
)
BACK_PRESSURE: Final = promise(
    "DESIGN 3.9",
    "deployment.back-pressure",
    "a caller that stops reading makes the provider wait, and nothing is heaped up between them",
)
MEMORY_FLAT: Final = promise(
    "DESIGN 3.9; checklist, Metrics",
    "deployment.memory-flat",
    "memory does not grow with the number of those who ever asked",
)
