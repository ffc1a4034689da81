"""What `llmhive doctor` tells: effective settings, masked, and live checks of what they name.

Redis is asked what it is and what it evicts, since `allkeys-lru` takes counters with it
(DESIGN.md, section 3.11).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from llmhive.app.errors import DependencyError
from llmhive.app.setting_kinds import Kind
from llmhive.app.settings import Settings, read_environment
from llmhive.migrations import newest

# A check by hand may take a moment; a dead Redis must not hang the command.
REDIS_WAIT_S: Final = 2.0
MASK: Final = "[set]"
# Policies that only ever evict what has an expiry, or nothing.
KEEPING: Final = ("noeviction", "volatile-")

Told = dict[str, Any]


def examine(settings: Settings) -> Told:
    """Everything an operator asks first; `ok` is false when something named does not work."""
    checks = {"database": _database(settings), "redis": _redis(settings)}
    return {
        "ok": all(check["ok"] for check in checks.values()),
        "environment": settings.llmhive_environment,
        "checks": checks,
        "settings": _settings(settings),
    }


def _settings(settings: Settings) -> dict[str, Told]:
    given = read_environment()
    told: dict[str, Told] = {}
    for spec in fields(settings):
        kind: Kind = spec.metadata["kind"]
        value = getattr(settings, spec.name)
        is_hidden = kind.is_secret or (kind.has_credentials and bool(kind.secrets_in(value)))
        variable = spec.name.upper()
        told[variable] = {
            "value": (MASK if value else "") if is_hidden else _plain(value),
            "unit": kind.unit,
            "from": "environment" if given.get(variable, "").strip() else "default",
            "about": spec.metadata["about"],
        }
    return told


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value if isinstance(value, str | int | float | None) else str(value)


def _database(settings: Settings) -> Told:
    from llmhive.app.adapters.sql_database import Database  # noqa: PLC0415  checks come last
    from llmhive.app.adapters.sql_migrations import current  # noqa: PLC0415

    database = Database(settings.database_url, busy_timeout_s=1.0)
    try:
        found = database.read_now(current)
        told: Told = {"ok": found >= newest(), "revision": found or "empty", "needs": newest()}
        if not told["ok"]:
            told["advice"] = "run `llmhive migrate`"
    except DependencyError as error:
        told = {"ok": False, "error": str(error)}
    finally:
        database.close()
    return told


def _redis(settings: Settings) -> Told:
    if not settings.redis_url:
        return {"ok": True, "state": "not configured: every worker limits for itself"}
    import redis  # noqa: PLC0415

    client = redis.Redis.from_url(
        settings.redis_url,
        socket_timeout=REDIS_WAIT_S,
        socket_connect_timeout=REDIS_WAIT_S,
        decode_responses=True,
    )
    try:
        info: Told = client.info()
    except redis.RedisError as error:
        return {"ok": False, "error": type(error).__name__}
    finally:
        client.close()
    policy = str(info.get("maxmemory_policy", "unknown"))
    told: Told = {
        "ok": True,
        "version": info.get("redis_version"),
        "maxmemory": info.get("maxmemory"),
        "maxmemory_policy": policy,
    }
    if not policy.startswith(KEEPING):
        told["advice"] = f"{policy} may evict limits and breakers before their time"
    return told


def as_text(found: Told) -> str:
    """The same for people."""
    lines = [f"environment: {found['environment']}"]
    for name, check in found["checks"].items():
        rest = ", ".join(f"{key}: {value}" for key, value in check.items() if key != "ok")
        lines.append(f"{'ok ' if check['ok'] else 'BAD'} {name}: {rest}")
    for variable, told in found["settings"].items():
        mark = "*" if told["from"] == "environment" else " "
        lines.append(f"{mark} {variable}={told['value']} ({told['about']})")
    return "\n".join(lines)
