"""The words of `llmhive limits`, `breakers` and `users`. Imports nothing that is slow to load."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any

Number = Callable[[str], int]
Duration = Callable[[str], float]


def add_to(commands: Any, *, duration_s: Duration, number: Number) -> None:
    """Add the three commands; each ends with `operate`, its name in operator_commands."""
    limits = commands.add_parser("limits", help="raise or lower one user's limit for a while")
    _add_limits(limits.add_subparsers(dest="action", required=True), duration_s, number)
    breakers = commands.add_parser("breakers", help="see, force and reset circuit breakers")
    _add_breakers(breakers.add_subparsers(dest="action", required=True))
    users = commands.add_parser("users", help="delete users with everything that is theirs")
    delete = users.add_subparsers(dest="action", required=True).add_parser("delete")
    chosen = delete.add_mutually_exclusive_group(required=True)
    chosen.add_argument("user", nargs="?", help="one user")
    chosen.add_argument("--tag", help="all that carry this tag")
    _finish(delete, "users delete", "user", "tag")


def _add_limits(actions: Any, duration_s: Duration, number: Number) -> None:
    grant = actions.add_parser("set", help="effective on all workers within 5 s")
    grant.add_argument("user")
    grant.add_argument("--requests-per-min", type=number, required=True, metavar="N")
    grant.add_argument("--for", type=duration_s, required=True, dest="lasts_s", metavar="DURATION")
    _finish(grant, "limits set", "user", "requests_per_min", "lasts_s")
    clear = actions.add_parser("clear", help="give the user back to the tier")
    clear.add_argument("user")
    _finish(clear, "limits clear", "user")
    _finish(actions.add_parser("list", help="every override that stands"), "limits list")


def _add_breakers(actions: Any) -> None:
    for action in ("force-open", "force-close", "reset"):
        order = actions.add_parser(action, help="followed by all workers within 5 s")
        order.add_argument("name", metavar="BREAKER")
        order.add_argument("--reason", default="")
        _finish(order, f"breakers {action}", "name", "reason")
    _finish(actions.add_parser("list", help="how every breaker stands"), "breakers list")


def _finish(parser: ArgumentParser, operate: str, *given: str) -> None:
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(operate=operate, given=given)


def given_to(command: Namespace) -> dict[str, Any]:
    """The arguments of a command by name."""
    return {name: getattr(command, name) for name in command.given}


def as_text(told: dict[str, Any]) -> str:
    """What a command tells, for people: a line per field, or a row per line of a list."""
    lines = []
    for name, value in told.items():
        if isinstance(value, list):
            lines += ["  ".join(f"{k}={v}" for k, v in row.items()) for row in value] or ["none"]
        else:
            lines.append(f"{name}: {value}")
    return "\n".join(lines)
