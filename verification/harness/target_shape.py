"""What may stand in a target file, and what is wrong with one: pure, from its parsed tables.

Every problem is found at once, with what was expected, what came, and never a secret. May
import capabilities only.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from verification.harness import capabilities as can

# What a target elsewhere can lend; everything else needs a service that we started.
POSSIBLE: Final = frozenset({can.USERS, can.STRIPE_SECRET, can.METRICS, can.REDIS_READ, can.ADMIN})
TIERS: Final = ("free", "basic", "pro", "enterprise")

# Table -> key -> type, and whether it must be there.
SHAPE: Final[dict[str, dict[str, tuple[type, bool]]]] = {
    "target": {
        "base_url": (str, True),
        "environment": (str, True),
        "instance": (str, True),
        "workers": (int, False),
        "capabilities": (list, True),
        "providers": (list, False),
    },
    "limits": {
        "hosts": (list, True),
        "requests": (int, True),
        "tokens": (int, True),
        "money": (float, False),
        "error_ratio": (float, False),
    },
    "prices": {
        "tokens_per_chat": (int, False),
        "per_1k_tokens": (float, False),
        "currency": (str, False),
    },
    "secrets": {
        "admin_key": (str, False),
        "stripe_webhook": (str, False),
        "metrics_token": (str, False),
        "redis_url": (str, False),
    },
    "users": {
        "id": (str, True),
        "tier": (str, True),
        "key": (str, True),
        "customer": (str, False),
    },
}
NEEDED: Final = ("target", "limits")
INFINITE: Final = 1e18  # TOML knows inf, which no budget is
SINGLE: Final = ("target", "limits", "prices", "secrets")


def problems(tables: dict[str, Any]) -> list[str]:
    """Everything that is wrong with the tables of a file, secrets left out of account."""
    return _shape_problems(tables) or _meaning_problems(tables)


def _shape_problems(tables: dict[str, Any]) -> list[str]:
    unknown = [_unknown("table", name, SHAPE) for name in tables if name not in SHAPE]
    missing = [f"table [{name}]: expected, got none" for name in NEEDED if name not in tables]
    rows = (_row_problems(where, found) for where, found in _rows(tables))
    return unknown + missing + [problem for wrong in rows for problem in wrong]


def _row_problems(where: str, found: object) -> list[str]:
    if not isinstance(found, dict):
        return [f"{where}: expected a table, got {type(found).__name__}"]
    shape = SHAPE[where.partition("[")[0]]
    unknown = [f"{where}: {_unknown('key', key, shape)}" for key in found if key not in shape]
    wrong = (_wrong(f"{where}.{key}", found.get(key), *of) for key, of in shape.items())
    return unknown + [problem for problem in wrong if problem]


def _rows(tables: dict[str, Any]) -> list[tuple[str, Any]]:
    single = [(name, tables[name]) for name in SINGLE if name in tables]
    users = tables.get("users", [])
    many = users if isinstance(users, list) else [users]
    return single + [(f"users[{number}]", user) for number, user in enumerate(many)]


def _unknown(what: str, name: str, known: dict[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    meant = f", did you mean {near[0]!r}?" if near else f", known: {', '.join(sorted(known))}"
    return f"unknown {what} {name!r}{meant}"


def _wrong(where: str, value: object, kind: type, is_needed: bool) -> str | None:  # noqa: FBT001  a row of SHAPE
    if value is None:
        return f"{where}: expected {kind.__name__}, got nothing" if is_needed else None
    kinds = (int, float) if kind is float else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
        return f"{where}: expected {kind.__name__}, got {type(value).__name__}"
    if isinstance(value, list) and not all(isinstance(one, str) for one in value):
        return f"{where}: expected a list of texts"
    return None


def _meaning_problems(tables: dict[str, Any]) -> list[str]:
    target = tables["target"]
    found = [
        _unknown("capability", name, dict.fromkeys(POSSIBLE))
        for name in target["capabilities"]
        if name not in POSSIBLE
    ]
    found += _url_problems(target["base_url"], tables["limits"]["hosts"])
    found += list(_number_problems(tables))
    found += [
        f"users[{number}].tier: {_unknown('tier', user['tier'], dict.fromkeys(TIERS))}"
        for number, user in enumerate(tables.get("users", []))
        if user["tier"] not in TIERS
    ]
    return found + _lacking(tables)


def _url_problems(base_url: str, hosts: list[str]) -> list[str]:
    expected = "target.base_url: expected http(s)://host[:port], without user or query"
    try:
        url = urlsplit(base_url)
        _ = url.port  # raises for one that is none
    except ValueError:
        return [expected]
    if url.scheme not in {"http", "https"} or not url.hostname or url.username or url.query:
        return [expected]
    if url.hostname not in {host.lower() for host in hosts}:
        return [f"target.base_url: {url.hostname} is not among limits.hosts"]
    return []


# Table, key, the least, the most, in words.
NUMBERS: Final = (
    ("limits", "requests", 1, INFINITE, "more than 0"),
    ("limits", "tokens", 0, INFINITE, "0 or more"),
    ("limits", "money", 0, INFINITE, "0 or more"),
    ("limits", "error_ratio", 0, 1, "0 to 1"),
    ("prices", "tokens_per_chat", 1, INFINITE, "more than 0"),
    ("prices", "per_1k_tokens", 0, INFINITE, "0 or more"),
    ("target", "workers", 1, INFINITE, "1 or more"),
)


def _number_problems(tables: dict[str, Any]) -> Iterator[str]:
    for table, key, least, most, expected in NUMBERS:
        value = tables.get(table, {}).get(key)
        if value is not None and not least <= value <= most:
            yield f"{table}.{key}: expected {expected}, got {value}"
    if "money" in tables["limits"] and not tables.get("prices", {}).get("per_1k_tokens"):
        yield "limits.money: expected prices.per_1k_tokens beside it, got nothing"


def _lacking(tables: dict[str, Any]) -> list[str]:
    named, secrets = tables["target"]["capabilities"], tables.get("secrets", {})
    users = bool(tables.get("users")) or "admin_key" in secrets
    needs = {
        can.USERS: ("[[users]], or secrets.admin_key to make them", users),
        can.STRIPE_SECRET: ("secrets.stripe_webhook", "stripe_webhook" in secrets),
        can.REDIS_READ: ("secrets.redis_url", "redis_url" in secrets),
        can.ADMIN: ("secrets.admin_key", "admin_key" in secrets),
    }
    return [
        f"target.capabilities: {name!r} needs {what}"
        for name, (what, is_there) in needs.items()
        if name in named and not is_there
    ]
