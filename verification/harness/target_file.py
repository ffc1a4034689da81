"""Target files: which service elsewhere is to be judged, how far one may go, and how to check it.

TOML. Secrets are references only (`env:NAME`, `file:PATH[#NAME]`); a literal one is refused, and so
is a live Stripe key wherever it comes from. `python -m verification.harness.target_file
init|check FILE`: exit codes 0 fine, 1 a foreign target, 2 a silent one, 3 an unusable file
or a pin that differs.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from verification.harness import capabilities as can
from verification.harness.users import User

# What a target elsewhere can lend; everything else needs a service that we started.
POSSIBLE: Final = frozenset({can.USERS, can.STRIPE_SECRET, can.METRICS, can.REDIS_READ})
TIERS: Final = ("free", "basic", "pro", "enterprise")
REFERENCE: Final = re.compile(r"(env|file):(.+)", re.DOTALL)
LIVE_STRIPE: Final = re.compile(r"\b(?:sk|rk|pk)_live_")

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
    "limits": {"hosts": (list, True), "requests": (int, True)},
    "secrets": {
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

EXAMPLE: Final = """\
# A service that the suite did not start. Nothing but GET requests goes out before the service
# has answered with the environment and the instance named here.

[target]
base_url = "https://staging.example.com"
environment = "staging"          # what /api/health says as "environment"
instance = "staging-1"           # what /api/health says as "instance"
workers = 2                      # worker processes behind the URL; claims that need two ask
# Of: users, stripe_secret, metrics, redis_read. What is left out is "unverified" in the report.
capabilities = ["users", "metrics"]
providers = ["openai", "anthropic"]

[limits]
hosts = ["staging.example.com"]  # nothing else is ever touched
requests = 2000                  # a hard stop: further claims are "unknown"

# Secrets are references: env:NAME reads a variable, file:PATH a file, file:PATH#NAME
# its line NAME=value. Never the secret itself.
[secrets]
metrics_token = "env:STAGING_METRICS_TOKEN"
# stripe_webhook = "file:/run/secrets/stripe-webhook"
# redis_url = "env:STAGING_REDIS_URL"

# Users that are lent to claims, each to one claim per run: list as many as you can.
[[users]]
id = "verify-free-1"
tier = "free"
key = "env:STAGING_KEY_FREE_1"

[[users]]
id = "verify-pro-1"
tier = "pro"
key = "env:STAGING_KEY_PRO_1"
# customer = "cus_..."
"""


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
    requests_max: int
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
    problems = _shape_problems(tables)
    if not problems:
        problems = _meaning_problems(tables)
    secrets = {} if problems else _resolved(tables, problems)
    if problems:
        raise TargetFileError(file, problems)
    target, users = tables["target"], tables.get("users", [])
    return TargetFile(
        base_url=target["base_url"].rstrip("/"),
        environment=target["environment"],
        instance=target["instance"],
        workers=target.get("workers", 1),
        capabilities=frozenset(target["capabilities"]),
        providers=tuple(target.get("providers", ())),
        requests_max=tables["limits"]["requests"],
        users=tuple(
            User(
                id=user["id"],
                key=secrets[f"users[{number}].key"],
                tier=user["tier"],
                customer=user.get("customer"),
            )
            for number, user in enumerate(users)
        ),
        secrets={name: secrets[f"secrets.{name}"] for name in tables.get("secrets", {})},
    )


def _shape_problems(tables: dict[str, Any]) -> list[str]:
    unknown = [_unknown("table", name, SHAPE) for name in tables if name not in SHAPE]
    missing = [
        f"table [{table}]: expected, got none"
        for table in ("target", "limits")
        if table not in tables
    ]
    rows = (_row_problems(where, found) for where, found in _rows(tables))
    return unknown + missing + [problem for problems in rows for problem in problems]


def _row_problems(where: str, found: object) -> list[str]:
    if not isinstance(found, dict):
        return [f"{where}: expected a table, got {type(found).__name__}"]
    shape = SHAPE[where.partition("[")[0]]
    unknown = [f"{where}: {_unknown('key', key, shape)}" for key in found if key not in shape]
    wrong = (_wrong(f"{where}.{key}", found.get(key), *of) for key, of in shape.items())
    return unknown + [problem for problem in wrong if problem]


def _rows(tables: dict[str, Any]) -> list[tuple[str, Any]]:
    single = [(name, tables[name]) for name in ("target", "limits", "secrets") if name in tables]
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
    is_right = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    if is_right and kind is list and not all(isinstance(one, str) for one in value):  # type: ignore[attr-defined]  # it is a list
        return f"{where}: expected a list of texts"
    return None if is_right else f"{where}: expected {kind.__name__}, got {type(value).__name__}"


def _meaning_problems(tables: dict[str, Any]) -> list[str]:
    target, limits = tables["target"], tables["limits"]
    problems = [
        _unknown("capability", name, dict.fromkeys(POSSIBLE))
        for name in target["capabilities"]
        if name not in POSSIBLE
    ]
    url = urlsplit(target["base_url"])
    if url.scheme not in {"http", "https"} or not url.hostname or url.username or url.query:
        problems.append("target.base_url: expected http(s)://host[:port], without user or query")
    elif url.hostname not in limits["hosts"]:
        problems.append(f"target.base_url: {url.hostname} is not among limits.hosts")
    if limits["requests"] <= 0:
        problems.append(f"limits.requests: expected more than 0, got {limits['requests']}")
    if target.get("workers", 1) < 1:
        problems.append(f"target.workers: expected 1 or more, got {target['workers']}")
    problems += [
        f"users[{number}].tier: {_unknown('tier', user['tier'], dict.fromkeys(TIERS))}"
        for number, user in enumerate(tables.get("users", []))
        if user["tier"] not in TIERS
    ]
    return problems + _lacking(tables)


def _lacking(tables: dict[str, Any]) -> list[str]:
    named, secrets = tables["target"]["capabilities"], tables.get("secrets", {})
    needs = {
        can.USERS: ("[[users]]", bool(tables.get("users"))),
        can.STRIPE_SECRET: ("secrets.stripe_webhook", "stripe_webhook" in secrets),
        can.REDIS_READ: ("secrets.redis_url", "redis_url" in secrets),
    }
    return [
        f"target.capabilities: {name!r} needs {what}"
        for name, (what, is_there) in needs.items()
        if name in named and not is_there
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
        secret = os.environ[name] if kind == "env" else _in_file(name)
    except (KeyError, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{reference} cannot be read ({type(error).__name__})") from error
    if not secret:
        raise ValueError(f"{reference} is empty")
    if LIVE_STRIPE.search(secret):
        raise ValueError(f"{reference} holds a live Stripe key; only test mode is ever touched")
    return secret


def _in_file(name: str) -> str:
    """A file's content, or with `#NAME` the value of its line `NAME=value`."""
    path, _, variable = name.partition("#")
    text = Path(path).read_text("utf-8")
    if not variable:
        return text.strip()
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return lines[variable].strip()


def init(file: Path) -> int:
    """Write a commented example; never over a file that is there."""
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(EXAMPLE)
    except OSError as error:
        return _say(3, f"could not write {file}: {error}")
    return _say(0, f"wrote {file}; edit it, then run `nox -s target -- check {file}`")


def check(file: Path) -> int:
    """Read the file and look at the target with one GET; changes nothing anywhere."""
    from verification.harness.stack import remote  # noqa: PLC0415  remote reads target files

    try:
        target = read(file)
    except TargetFileError as error:
        return _say(3, str(error))
    sighting = remote.look(target)
    missing = sorted(POSSIBLE - target.capabilities)
    if sighting.exit_code == 0 and missing:
        _say(0, f"claims that need one of these stay unverified: {', '.join(missing)}")
    return _say(sighting.exit_code, f"{target.base_url}: {sighting.says}")


def _say(code: int, text: str) -> int:
    print(text, file=sys.stderr if code else sys.stdout)
    return code


def main(arguments: list[str]) -> int:
    """`init FILE` or `check FILE`."""
    commands = {"init": init, "check": check}
    if len(arguments) != 2 or arguments[0] not in commands:  # noqa: PLR2004  a word and a file
        return _say(3, "usage: nox -s target -- init|check FILE")
    return commands[arguments[0]](Path(arguments[1]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
