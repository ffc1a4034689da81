"""How the text of a variable becomes a value: one kind per sort of setting, strictly.

A kind says what it expects, whether its values are secret, and which secrets stand inside
them. Imports nothing of the service.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

# Shorter ones cannot be told from ordinary words, so they could not be masked.
SECRET_LENGTH_MIN: Final = 8
TIER_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
HOST: Final = re.compile(r"[A-Za-z0-9.\-_:\[\]]+")

REDIS_DATABASE: Final = re.compile(r"/?|/[0-9]{1,5}")
# Of redis-py; a name without words takes the path of a file.
TLS_OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "ssl_cert_reqs": ("none", "optional", "required"),
    "ssl_check_hostname": ("true", "false"),
    "ssl_ca_certs": (),
    "ssl_certfile": (),
    "ssl_keyfile": (),
}

# Scheme -> the package that SQLAlchemy asks for it.
DATABASE_DRIVERS: Final = {
    "sqlite": "sqlite3",
    "postgresql": "psycopg2",
    "postgresql+psycopg2": "psycopg2",
    "postgresql+psycopg": "psycopg",
}


class Unreadable(Exception):  # noqa: N818  carried to ConfigurationError, which is the error
    """A text is no value of this kind; `expected` says what would be."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


@dataclass(frozen=True, slots=True)
class TierBudget:
    """What one tier may have per window, and at once."""

    requests: int
    tokens: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of setting: `read` raises Unreadable; `unit` is for people."""

    read: Callable[[str], Any]
    unit: str
    is_secret: bool = False
    has_credentials: bool = False

    def shown(self, text: str) -> str:
        """The text for a message: a secret only by its length."""
        if self.is_secret or self.has_credentials:
            return f"a value of {len(text)} characters"
        return repr(text[:80])

    def secrets_in(self, value: Any) -> list[str]:
        """The secrets inside a value of this kind."""
        if self.is_secret:
            return [value] if isinstance(value, str) and value else list(value or ())
        if self.has_credentials and value:
            password = urlsplit(value).password
            return list({password, unquote(password)}) if password else []
        return []


def is_printable(text: str) -> bool:
    """Whether a text has no control characters and can be encoded."""
    return text.isprintable()


def text(length_max: int) -> Kind:
    """Any printable text."""

    def read(given: str) -> str:
        if len(given) > length_max or not is_printable(given):
            raise Unreadable(f"printable text of at most {length_max} characters")
        return given

    return Kind(read, "text")


def path() -> Kind:
    """A folder."""

    def read(given: str) -> Path:
        if not is_printable(given):
            raise Unreadable("a path")
        return Path(given).expanduser()

    return Kind(read, "path")


def choice(*allowed: str) -> Kind:
    """One of a few words."""
    words = tuple(str(word) for word in allowed)

    def read(given: str) -> str:
        if given not in words:
            raise Unreadable("one of " + ", ".join(words))
        return given

    return Kind(read, "word")


def _number(given: str, expected: str) -> float:
    # float() would also take "nan", "inf", "1_000" and digits of other scripts.
    if not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?", given):
        raise Unreadable(expected)
    return float(given)


def number(least: float, most: float) -> Kind:
    """A number within bounds."""
    expected = f"a number from {least:g} to {most:g}"

    def read(given: str) -> float:
        value = _number(given, expected)
        if not least <= value <= most or not math.isfinite(value):
            raise Unreadable(expected)
        return value

    return Kind(read, "number")


def ratio() -> Kind:
    """A share: above 0, at most 1."""

    def read(given: str) -> float:
        value = _number(given, "a ratio above 0, at most 1")
        if not 0 < value <= 1:
            raise Unreadable("a ratio above 0, at most 1")
        return value

    return Kind(read, "ratio")


def seconds(most: float, *, zero: bool = False, optional: bool = False) -> Kind:
    """A duration: above 0 (or from 0), at most `most`."""
    expected = f"seconds {'from 0' if zero else 'above 0'} to {most:g}"

    def read(given: str) -> float | None:
        if optional and not given:
            return None
        value = _number(given, expected)
        if not 0 <= value <= most or (value == 0 and not zero):
            raise Unreadable(expected)
        return value

    return Kind(read, "s")


def whole(least: int, most: int) -> Kind:
    """An integer within bounds."""
    expected = f"a whole number from {least} to {most}"

    def read(given: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,15}", given) or not least <= int(given) <= most:
            raise Unreadable(expected)
        return int(given)

    return Kind(read, "count")


def _secret(given: str) -> str:
    if len(given) < SECRET_LENGTH_MIN or not given.isascii() or not re.fullmatch(r"\S+", given):
        raise Unreadable(f"at least {SECRET_LENGTH_MIN} printable ASCII characters without spaces")
    if not is_printable(given):
        raise Unreadable("printable characters only")
    return given


def secret() -> Kind:
    """A key or token; empty means none."""
    return Kind(lambda given: _secret(given) if given else "", "secret", is_secret=True)


def secrets() -> Kind:
    """Several keys with commas between."""

    def read(given: str) -> tuple[str, ...]:
        return tuple(_secret(part.strip()) for part in given.split(",")) if given else ()

    return Kind(read, "secrets", is_secret=True)


def url(*schemes: str, has_credentials: bool = False) -> Kind:
    """A URL of one of these schemes, as their readers spell it; one of sqlite names no host."""
    beginnings = tuple(f"{scheme}://" for scheme in schemes)
    expected = "a URL that begins with " + " or ".join(beginnings)

    def read(given: str) -> str:
        if not given:
            return ""
        parts = _parts(given, expected)
        if not given.startswith(beginnings) or not is_printable(given):
            raise Unreadable(expected)
        is_file = parts.scheme.startswith("sqlite")
        if not is_file and (not parts.hostname or not HOST.fullmatch(parts.hostname)):
            raise Unreadable(expected + " and names a host")
        if not has_credentials and (parts.username or parts.password):
            raise Unreadable(expected + " and has no credentials")
        if not has_credentials and (parts.query or parts.fragment):
            raise Unreadable(expected + " and ends with the path")
        return given.rstrip("/") if not has_credentials else given

    return Kind(read, "URL", has_credentials=has_credentials)


def redis_url() -> Kind:
    """A URL of Redis, of which nothing is overlooked: a database's number, and options of TLS."""
    anywhere = url("redis", "rediss", has_credentials=True)
    expected = "a URL such as redis://host:6379/0, or rediss:// with options " + ", ".join(
        f"{name}={'|'.join(words) or '...'}" for name, words in TLS_OPTIONS.items()
    )

    def read(given: str) -> str:
        parts = urlsplit(anywhere.read(given))
        options = parts.query.split("&") if parts.query else []
        if not REDIS_DATABASE.fullmatch(parts.path) or parts.fragment:
            raise Unreadable(expected)
        if options and (parts.scheme != "rediss" or not all(map(_is_tls_option, options))):
            raise Unreadable(expected)
        return given

    return Kind(read, "URL", has_credentials=True)


def database_url() -> Kind:
    """A URL of a database whose driver is there: a file of SQLite, or PostgreSQL."""
    anywhere = url(*DATABASE_DRIVERS, has_credentials=True)

    def read(given: str) -> str:
        parts = urlsplit(anywhere.read(given))
        if not given:
            return ""
        driver = DATABASE_DRIVERS[parts.scheme]
        if find_spec(driver) is None:
            raise Unreadable(f"a database whose driver is installed; there is no package {driver}")
        if driver == "sqlite3" and not _is_file(parts):
            raise Unreadable("a file, as in sqlite:///folder/llmhive.db, and no options")
        return given

    return Kind(read, "URL", has_credentials=True)


def _is_file(parts: SplitResult) -> bool:
    is_named = parts.path.strip("/") not in {"", ":memory:"} and not parts.path.endswith("/")
    return is_named and not (parts.netloc or parts.query or parts.fragment)


def _is_tls_option(text: str) -> bool:
    name, _, value = text.partition("=")
    return bool(value) and name in TLS_OPTIONS and value in (TLS_OPTIONS[name] or (value,))


def _parts(given: str, expected: str) -> SplitResult:
    try:
        parts = urlsplit(given)
        parts.port  # noqa: B018  reading it checks it
    except ValueError:
        raise Unreadable(expected) from None
    return parts


def prefix() -> Kind:
    """What Redis keys begin with: no spaces, no globs, no hash tags."""

    def read(given: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9:_.\-]{1,128}", given):
            raise Unreadable("1 to 128 of A-Z a-z 0-9 : _ . -")
        return given

    return Kind(read, "text")


def _listed(given: str) -> list[str]:
    return [part.strip() for part in given.split(",") if part.strip()]


def names(*allowed: str) -> Kind:
    """A list without doubles of known names, in an order that matters."""

    def read(given: str) -> tuple[str, ...]:
        found = _listed(given)
        if not found or len(set(found)) < len(found) or not set(found) <= set(allowed):
            raise Unreadable("each once, commas between, of " + ", ".join(allowed))
        return tuple(found)

    return Kind(read, "names")


def origins() -> Kind:
    """Web origins: scheme, host and port, nothing behind; never a wildcard."""
    expected = "origins such as https://app.example.com, commas between, no wildcard"

    def read(given: str) -> tuple[str, ...]:
        found = _listed(given)
        for origin in found:
            parts = _parts(origin, expected)
            is_bare = origin == f"{parts.scheme}://{parts.netloc}" and "@" not in parts.netloc
            if parts.scheme not in {"http", "https"} or not parts.hostname or not is_bare:
                raise Unreadable(expected)
            if not HOST.fullmatch(parts.hostname):
                raise Unreadable(expected)
        return tuple(found)

    return Kind(read, "origins")


def tiers() -> Kind:
    """tier=requests:tokens:in_flight, commas between; `free` must be among them."""
    expected = "tier=requests:tokens:in_flight with whole numbers above 0, free among them"

    def read(given: str) -> dict[str, TierBudget]:
        pairs = [part.partition("=") for part in _listed(given)]
        found = {name: _budget(budget.split(":"), expected) for name, _, budget in pairs}
        if len(found) < len(pairs) or "free" not in found or not _are_tier_names(found):
            raise Unreadable(expected)
        return found

    return Kind(read, "budgets")


def _are_tier_names(found: Iterable[str]) -> bool:
    return all(TIER_NAME.fullmatch(name) for name in found)


def _budget(parts: list[str], expected: str) -> TierBudget:
    is_whole = all(re.fullmatch(r"[0-9]{1,12}", part) and int(part) for part in parts)
    if len(parts) != 3 or not is_whole:  # noqa: PLR2004  the three of a budget
        raise Unreadable(expected)
    return TierBudget(*(int(part) for part in parts))
