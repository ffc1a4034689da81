"""Target files: which service elsewhere is to be judged, how far one may go, and with what.

TOML. Secrets are references only (`env:NAME`, `file:PATH`, or `file:PATH#NAME` for a line
`NAME=…` of a file); a literal one is refused, and so is a live Stripe key wherever it comes
from. What can be done with one: staging/command.py.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from verification.harness import target_shape
from verification.harness.staging.budget import Budget, Prices
from verification.harness.users import User

REFERENCE: Final = re.compile(r"(env|file):(.+)", re.DOTALL)
LIVE_STRIPE: Final = re.compile(r"\b(?:sk|rk|pk)_live_")


class TargetFileError(Exception):
    """The file cannot be used; lists every problem at once, and never a secret."""

    def __init__(self, file: Path, problems: list[str]) -> None:
        super().__init__("\n".join(f"{file.name}: {problem}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFile:
    """A target elsewhere, its secrets resolved."""

    base_url: str
    environment: str
    instance: str
    workers: int
    capabilities: frozenset[str]
    providers: tuple[str, ...]
    hosts: frozenset[str]
    budget: Budget
    error_ratio: float | None = None
    users: tuple[User, ...] = ()
    secrets: dict[str, str] = field(default_factory=dict, repr=False)


def read(file: Path) -> TargetFile:
    """The target that a file names.

    Raises: TargetFileError with everything that is wrong with it.
    """
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TargetFileError(file, [f"expected a TOML file, got: {error}"]) from error
    problems = target_shape.problems(tables)
    secrets = {} if problems else _resolved(tables, problems)
    if problems:
        raise TargetFileError(file, problems)
    target, limits = tables["target"], tables["limits"]
    return TargetFile(
        base_url=target["base_url"].rstrip("/"),
        environment=target["environment"],
        instance=target["instance"],
        workers=target.get("workers", 1),
        capabilities=frozenset(target["capabilities"]),
        providers=tuple(target.get("providers", ())),
        hosts=frozenset(host.lower() for host in limits["hosts"]),
        budget=Budget(
            requests=limits["requests"],
            tokens=limits["tokens"],
            money=limits.get("money"),
            prices=Prices(**tables.get("prices", {})),
        ),
        error_ratio=limits.get("error_ratio"),
        users=tuple(_users(tables, secrets)),
        secrets={name: secrets[f"secrets.{name}"] for name in tables.get("secrets", {})},
    )


def _users(tables: dict[str, Any], secrets: dict[str, str]) -> list[User]:
    return [
        User(
            id=user["id"],
            key=secrets[f"users[{number}].key"],
            tier=user["tier"],
            customer=user.get("customer"),
        )
        for number, user in enumerate(tables.get("users", []))
    ]


def _resolved(tables: dict[str, Any], problems: list[str]) -> dict[str, str]:
    """Where -> secret; what cannot be had, or must not be used, is added to the problems."""
    references = {f"secrets.{name}": text for name, text in tables.get("secrets", {}).items()}
    for number, user in enumerate(tables.get("users", [])):
        references[f"users[{number}].key"] = user["key"]
    found: dict[str, str] = {}
    for where, reference in references.items():
        try:
            found[where] = resolve(reference)
        except ValueError as error:
            problems.append(f"{where}: {error}")
    redis_host = urlsplit(found.get("secrets.redis_url", "")).hostname
    if redis_host and redis_host not in {host.lower() for host in tables["limits"]["hosts"]}:
        problems.append(f"secrets.redis_url: {redis_host} is not among limits.hosts")
    return found


def resolve(reference: str) -> str:
    """The secret that `env:NAME`, `file:PATH` or `file:PATH#NAME` refers to.

    Raises: ValueError, without the secret, for a literal, an absent or a live Stripe one.
    """
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise ValueError("expected a reference (env:NAME or file:PATH), got a literal secret")
    kind, name = match.groups()
    try:
        secret = os.environ[name] if kind == "env" else _from_file(name)
    except (KeyError, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{reference} cannot be read ({type(error).__name__})") from error
    if not secret:
        raise ValueError(f"{reference} is empty")
    if LIVE_STRIPE.search(secret):
        raise ValueError(f"{reference} holds a live Stripe key; only test mode is ever touched")
    return secret


def _from_file(name: str) -> str:
    """A whole file, or the line of it that is named behind `#`."""
    path, mark, line_name = name.partition("#")
    text = Path(path).read_text("utf-8").strip()
    if not mark:
        return text
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return lines[line_name].strip()
