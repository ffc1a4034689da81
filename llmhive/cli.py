"""The command line: serve, migrate, doctor, keys, and what operators say.

Exit codes: 0 done, 1 refused or something is wrong, 2 usage, 3 could not start or run.
Commands import what they need when they run, so that `serve` is quick.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import llmhive
from llmhive import operator_arguments, supervisor
from llmhive.app.errors import CallerError, ConfigurationError, DependencyError
from llmhive.app.safety.masking import Masker
from llmhive.app.settings import Environment, Settings, read_environment
from llmhive.log_output import start_supervisor_logging
from llmhive.migrations import newest
from llmhive.run_files import RunFiles

COULD_NOT: Final = 3
DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
UNITS: Final = {"ms": 0.001, "s": 1, None: 1, "m": 60, "h": 3600, "d": 86_400}
# Ten years: whoever wants a key for longer wants one that does not expire.
DURATION_MAX_S: Final = 10 * 365 * 86_400
WORKERS_MAX: Final = 256
PORT_MAX: Final = 65_535
# As in the limits' own model, which is not loaded for this.
REQUESTS_PER_MIN_MAX: Final = 1_000_000


def duration_s(text: str) -> float:
    """Seconds of `90`, `90s`, `15m`, `1h` or `2d`."""
    found = DURATION.fullmatch(text)
    seconds = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= DURATION_MAX_S:
        raise argparse.ArgumentTypeError(f"expected a duration such as 90s, 15m, 1h, got {text!r}")
    return seconds


def within(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers within bounds."""

    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected {least} to {most}, got {text!r}")
        return int(text)

    return number


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    whole = argparse.ArgumentParser(prog="llmhive", description=llmhive.__doc__)
    whole.add_argument("--version", action="version", version=llmhive.__version__)
    commands = whole.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the service until SIGTERM")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=within(0, PORT_MAX), default=8080)
    serve.add_argument("--workers", type=within(1, WORKERS_MAX), default=1)
    serve.set_defaults(run=run_serve)
    migrate = commands.add_parser("migrate", help="bring the database up to date")
    migrate.add_argument("--quiet", action="store_true", help="say nothing when it went well")
    migrate.set_defaults(run=run_migrate)
    doctor = commands.add_parser("doctor", help="show effective settings and check dependencies")
    doctor.add_argument("--json", action="store_true")
    doctor.add_argument("--workers", type=within(1, WORKERS_MAX), default=1)
    doctor.set_defaults(run=run_doctor)
    keys = commands.add_parser("keys", help="make and revoke API keys")
    _add_keys(keys.add_subparsers(dest="action", required=True))
    operator_arguments.add_to(
        commands, duration_s=duration_s, number=within(0, REQUESTS_PER_MIN_MAX)
    )
    whole.set_defaults(run=run_operators)
    return whole


def _add_keys(actions: Any) -> None:
    create = actions.add_parser("create", help="make a key; its secret is shown once")
    create.add_argument("--user", required=True)
    create.add_argument("--tier", help="what the user is granted; a new one is free")
    create.add_argument("--stripe-customer", metavar="CUSTOMER")
    create.add_argument("--expires-in", type=duration_s, metavar="DURATION")
    create.add_argument("--scope", action="append", choices=("chat", "admin"))
    create.add_argument("--json", action="store_true")
    create.set_defaults(run=run_keys_create)
    revoke = actions.add_parser("revoke", help="revoke a key on all workers within 5 s")
    revoke.add_argument("key", metavar="KEY_ID_OR_KEY")
    revoke.add_argument("--json", action="store_true")
    revoke.set_defaults(run=run_keys_revoke)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    given = parser().parse_args(arguments)
    mask: Callable[[str], str] = str
    try:
        settings = Settings.parse(read_environment(), workers=getattr(given, "workers", 1))
        mask = Masker(settings.secrets).text
        code: int = given.run(settings, given)
    except (ConfigurationError, supervisor.StartError, DependencyError, OSError) as error:
        cause = f" ({type(error.__cause__).__name__})" if error.__cause__ else ""
        sys.stderr.write(mask(f"{error}{cause}") + "\n")
        return COULD_NOT
    except CallerError as error:
        sys.stderr.write(mask(str(error)) + "\n")
        return 1
    return code


def run_serve(settings: Settings, given: argparse.Namespace) -> int:
    """Start workers behind one socket, and look after them."""
    listening = supervisor.listen(given.host, given.port)
    files = RunFiles.make(settings.llmhive_data_dir)
    start_supervisor_logging(settings)
    migration = _begin_migration(settings)
    try:
        return supervisor.Supervisor(settings, listening, given.workers, files, migration).run()
    finally:
        files.remove()


def _begin_migration(settings: Settings) -> subprocess.Popen[bytes] | None:
    """Migrate beside the starting workers: in development, on SQLite, if there is need to."""
    is_ours = settings.llmhive_environment == Environment.DEVELOPMENT
    if not is_ours or not settings.database_url.startswith("sqlite"):
        return None
    if _sqlite_revision(settings.database_url) >= newest():
        return None
    safe = ["-P"] if sys.flags.safe_path else []
    command = [sys.executable, *safe, "-m", "llmhive", "migrate", "--quiet"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603  our own module


def _sqlite_revision(url: str) -> str:
    """The revision of an SQLite file, without loading SQLAlchemy; empty when it has none."""
    import sqlite3  # noqa: PLC0415
    from contextlib import closing  # noqa: PLC0415

    path = url.partition(":///")[2]
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.2)) as file:
            return str(file.execute("SELECT max(version_num) FROM alembic_version").fetchone()[0])
    except sqlite3.Error:
        return ""


def run_migrate(settings: Settings, given: argparse.Namespace) -> int:
    """Bring the database to what this version needs."""
    from llmhive.app.adapters.sql_migrations import migrate  # noqa: PLC0415

    if settings.database_url.startswith("sqlite"):
        settings.llmhive_data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    before, after = migrate(settings.database_url)
    if not given.quiet:
        print(f"database: {before or 'empty'} -> {after}" if before != after else f"at {after}")
    return 0


def _bring_up_to_date(settings: Settings) -> None:
    """Migrate as `serve` would; elsewhere say what is to be done.

    Raises: StartError.
    """
    migration = _begin_migration(settings)
    if migration is not None and migration.wait() != 0:
        raise supervisor.StartError("the database could not be migrated")


def run_keys_create(settings: Settings, given: argparse.Namespace) -> int:
    """Make a key and print it: the only time that it is seen."""
    from llmhive import key_commands  # noqa: PLC0415

    _bring_up_to_date(settings)
    told = key_commands.create(
        settings,
        user=given.user,
        tier=given.tier,
        stripe_customer=given.stripe_customer,
        scopes=frozenset(given.scope or ["chat"]),
        expires_in_s=given.expires_in,
    )
    print(json.dumps(told) if given.json else "\n".join(f"{k}: {v}" for k, v in told.items()))
    return 0


def run_keys_revoke(settings: Settings, given: argparse.Namespace) -> int:
    """Revoke a key."""
    from llmhive import key_commands  # noqa: PLC0415

    _bring_up_to_date(settings)
    told = key_commands.revoke(settings, given.key)
    print(json.dumps(told) if given.json else f"revoked {told['key_id']} of {told['user']}")
    return 0


def run_operators(settings: Settings, given: argparse.Namespace) -> int:
    """Tell the database what an operator says of limits, breakers or users."""
    from llmhive import operator_commands  # noqa: PLC0415

    _bring_up_to_date(settings)
    told = operator_commands.run(settings, given.operate, operator_arguments.given_to(given))
    print(json.dumps(told) if given.json else operator_arguments.as_text(told))
    return 0


def run_doctor(settings: Settings, given: argparse.Namespace) -> int:
    """Tell effective settings, masked, and whether what they name works."""
    from llmhive import doctor  # noqa: PLC0415

    found = doctor.examine(settings)
    text = json.dumps(found, indent=2) if given.json else doctor.as_text(found)
    print(Masker(settings.secrets).text(text))
    return 0 if found["ok"] else 1
