"""Profiles: what a run sends, for how long, and on what kind of stack. TOML in `profiles/`.

A profile is a name of a file there, or a path. Everything that is wrong with one is said at
once. Pure but for reading the file.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from load.schedule import Stage, Traffic
from verification.contract.load import KINDS
from verification.contract.tiers import TIERS

FOLDER: Final = Path(__file__).with_name("profiles")

Number = (int, float)
# Table -> key -> type, and whether it must be there. "" is the file itself.
SHAPE: Final[dict[str, dict[str, tuple[Any, bool]]]] = {
    "": {
        "text": (str, True),
        "seed": (int, True),
        "warm_up_s": (Number, True),
        "request_timeout_s": (Number, True),
        "generators": (int, False),
    },
    "rates": dict.fromkeys(KINDS, (Number, False)),
    "stages": {"for_s": (Number, True), "times": (Number, False)},
    "stop": {"error_share": (Number, True), "after_requests": (int, True)},
    "callers": {"users": (int, False), "tier": (str, False)},
    "stack": {
        "workers": (int, False),
        "provider_first_token_s": (Number, False),
        "provider_chunks": (int, False),
        "provider_chunk_s": (Number, False),
    },
    "faults": {
        "link": (str, True),
        "latency_ms": (int, True),
        "at_s": (Number, True),
        "for_s": (Number, True),
    },
}
TABLES: Final = ("rates", "stop", "callers", "stack")
LISTS: Final = ("stages", "faults")
LINKS: Final = ("redis", "openai", "anthropic", "stripe")
"""Where a fault of a profile can be."""


class ProfileError(ValueError):
    """A profile that cannot be run; lists every problem at once."""

    def __init__(self, name: str, problems: list[str]) -> None:
        super().__init__("; ".join(f"{name}: {problem}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnStack:
    """How a stack of our own is to be, and how quick its simulated providers are."""

    workers: int = 2
    provider_first_token_s: float = 0.1
    provider_chunks: int = 8
    provider_chunk_s: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """How many users of which tier share the traffic, where users can be made."""

    users: int = 8
    tier: str = "enterprise"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """A slow link during a part of the run, on a stack of our own."""

    link: str
    latency_ms: int
    at_s: float
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a run does."""

    name: str
    text: str
    traffic: Traffic
    warm_up_s: float
    request_timeout_s: float
    stop_error_share: float
    stop_after_requests: int
    generators: int = 1
    callers: Callers = field(default_factory=Callers)
    stack: OwnStack = field(default_factory=OwnStack)
    faults: tuple[PlannedFault, ...] = ()

    def only(self, kinds: Sequence[str]) -> Profile:
        """The same, sending requests of these kinds alone.

        Raises: ProfileError when a kind is unknown, or nothing is left.
        """
        problems = [_unknown("kind", kind, KINDS) for kind in kinds if kind not in KINDS]
        rates = {kind: rate for kind, rate in self.traffic.rates.items() if kind in kinds}
        if not problems and not any(rates.values()):
            problems = [f"nothing is left to send of {', '.join(kinds)}"]
        if problems:
            raise ProfileError("--kinds", problems)
        return replace(self, traffic=replace(self.traffic, rates=rates))

    def scaled(self, times: float) -> Profile:
        """The same at so many times its rates."""
        rates = {kind: rate * times for kind, rate in self.traffic.rates.items()}
        return replace(self, traffic=replace(self.traffic, rates=rates))


def names() -> list[str]:
    """The profiles that lie in `profiles/`."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read(name: str) -> Profile:
    """The profile of that name, or of the file at that path.

    Raises: ProfileError with everything that is wrong with it.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        near = difflib.get_close_matches(name, names(), n=1)
        meant = f", did you mean {near[0]!r}?" if near else ""
        known = ", ".join(names())
        raise ProfileError(
            "profile", [f"expected one of {known}, or a .toml file, got {name!r}{meant}"]
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProfileError(path.name, [f"expected a TOML file: {error}"]) from error
    if problems := _shape_problems(tables) or _meaning_problems(tables):
        raise ProfileError(path.name, problems)
    return _made(path.stem, tables)


def _made(name: str, tables: dict[str, Any]) -> Profile:
    stages = [Stage(float(row["for_s"]), float(row.get("times", 1))) for row in tables["stages"]]
    return Profile(
        name=name,
        text=tables["text"],
        traffic=Traffic(
            {kind: float(rate) for kind, rate in tables["rates"].items()}, stages, tables["seed"]
        ),
        warm_up_s=float(tables["warm_up_s"]),
        request_timeout_s=float(tables["request_timeout_s"]),
        stop_error_share=float(tables["stop"]["error_share"]),
        stop_after_requests=tables["stop"]["after_requests"],
        generators=tables.get("generators", 1),
        callers=Callers(**tables.get("callers", {})),
        stack=OwnStack(**tables.get("stack", {})),
        faults=tuple(PlannedFault(**row) for row in tables.get("faults", [])),
    )


def _shape_problems(tables: dict[str, Any]) -> list[str]:
    top = {key: value for key, value in tables.items() if key not in SHAPE or key == ""}
    known = {*SHAPE[""], *TABLES, *LISTS}
    problems = [_unknown("key or table", key, known) for key in top if key not in known]
    problems += [
        f"[{name}]: expected, got none"
        for name in ("rates", "stages", "stop")
        if name not in tables
    ]
    problems += [
        f"{name}: expected [[{name}]], got {type(tables[name]).__name__}"
        for name in LISTS
        if not isinstance(tables.get(name, []), list)
    ]
    for where, shape, row in _rows(tables):
        problems += _row_problems(where, SHAPE[shape], row)
    return problems


def _rows(tables: dict[str, Any]) -> list[tuple[str, str, Any]]:
    rows = [("", "", {key: tables[key] for key in SHAPE[""] if key in tables})]
    rows += [(name, name, tables[name]) for name in TABLES if name in tables]
    for name in LISTS:
        found = tables.get(name, [])
        many = found if isinstance(found, list) else [found]
        rows += [(f"{name}[{number}]", name, row) for number, row in enumerate(many)]
    return rows


def _row_problems(where: str, shape: dict[str, tuple[Any, bool]], row: object) -> list[str]:
    if not isinstance(row, dict):
        return [f"{where}: expected a table, got {type(row).__name__}"]
    dot = f"{where}." if where else ""
    problems = [f"{where}: {_unknown('key', key, shape)}" for key in row if key not in shape]
    for key, (kind, is_needed) in shape.items():
        value = row.get(key)
        if value is None:
            problems += [f"{dot}{key}: expected {_called(kind)}, got nothing"] if is_needed else []
        elif not isinstance(value, kind) or isinstance(value, bool):
            problems.append(f"{dot}{key}: expected {_called(kind)}, got {value!r}")
        elif isinstance(value, Number) and value < 0:
            problems.append(f"{dot}{key}: expected 0 or more, got {value}")
    return problems


def _called(kind: Any) -> str:
    return "a number" if kind is Number else {int: "a whole number", str: "a text"}[kind]


def _unknown(what: str, name: str, known: object) -> str:
    names_known = sorted(known)  # type: ignore[call-overload]  # any iterable of texts
    near = difflib.get_close_matches(name, names_known, n=1)
    meant = f", did you mean {near[0]!r}?" if near else f", known: {', '.join(names_known)}"
    return f"unknown {what} {name!r}{meant}"


def _meaning_problems(tables: dict[str, Any]) -> list[str]:
    length_s = sum(row["for_s"] for row in tables["stages"])
    tier = tables.get("callers", {}).get("tier", "enterprise")
    share = tables["stop"]["error_share"]
    # What is expected, and whether it is so.
    expected = {
        "rates: expected at least one above 0": any(tables["rates"].values()),
        f"warm_up_s: expected less than the stages' {length_s} s": tables["warm_up_s"] < length_s,
        "stop.error_share: expected more than 0, at most 1": 0 < share <= 1,
        "generators: expected 1 or more": tables.get("generators", 1) >= 1,
        f"callers.tier: {_unknown('tier', tier, TIERS)}": tier in TIERS,
    }
    problems = [problem for problem, is_so in expected.items() if not is_so]
    for number, row in enumerate(tables.get("faults", [])):
        if row["link"] not in LINKS:
            problems.append(f"faults[{number}].link: {_unknown('link', row['link'], LINKS)}")
        if row["at_s"] + row["for_s"] > length_s:
            problems.append(f"faults[{number}]: expected to end within the stages' {length_s} s")
    return problems
