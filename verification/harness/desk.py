"""The whole service at a desk: real Redis, simulated providers, printed keys, `curl` lines.

`python -m verification.harness.desk`, through `nox -s serve`. Runs until Ctrl-C or SIGTERM.
Everything it keeps is in one folder, so that keys outlive a restart and removing the folder
forgets all. Settings are the service's defaults, but that it ends quickly, so what one sees is
what the promises say.
Exit codes: 0 ended as asked, 2 the service ended by itself, 3 could not start.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from verification.contract.commands import PRINTED_COMMANDS
from verification.contract.tiers import TIERS
from verification.harness.command_line import CommandLine
from verification.harness.desk_secrets import DeskSecrets
from verification.harness.http_client import Http
from verification.harness.processes import Child, ChildError, keeper
from verification.harness.stack import defaults, programs, servers
from verification.harness.stack.model import StackError
from verification.harness.stack.programs import ROOT
from verification.harness.stack.service_environment import clean_environment, service_python
from verification.harness.stack.simulators import TrioPool
from verification.harness.toxiproxy_link import LOOPBACK
from verification.harness.waiting import came_true

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FOLDER: Final = ROOT / ".desk"
PORT: Final = 8080
# A desk may run a second copy and another program or two on the ports that follow.
PORTS_TRIED: Final = 20
READY_WITHIN_S: Final = 30.0
COMMAND_WITHIN_S: Final = 30.0
# `DRAIN_SECONDS` and `SHUTDOWN_GRACE_S` of a desk, and the exit itself.
STOP_WITHIN_S: Final = 8.0
ENDED_BY_ITSELF: Final = 2
COULD_NOT: Final = 3
PORT_MAX: Final = 65_535
WORKERS_MAX: Final = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Start everything, say where it is, stay until told to end."""
    given = _parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    desk = Desk(given.folder.absolute(), given.environment, given.workers)
    try:
        desk.start(given.port)
        print(desk.greeting(), flush=True)  # noqa: T201  what it was asked for
        return desk.stay()
    except KeyboardInterrupt:
        return 0
    except (StackError, ChildError, OSError) as error:
        print(f"could not run: {error}", file=sys.stderr)  # noqa: T201  the answer
        return COULD_NOT
    finally:
        desk.stop()


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = CommandLine(prog="nox -s serve --", description=__doc__)
    parser.add_argument(
        "--port", type=_within(0, PORT_MAX), default=PORT, help="or the next free one; 0: any"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where everything is kept")
    parser.add_argument("--workers", type=_within(1, WORKERS_MAX), default=1)
    parser.add_argument(
        "--environment",
        choices=("development", "staging"),
        default="development",
        help="what health says; staging to try target files on it",
    )
    return parser


class _within:  # noqa: N801  reads as a verb where it is used
    """A parser of whole numbers within bounds."""

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most

    def __call__(self, text: str) -> int:
        if not text.isascii() or not text.isdigit() or not self.least <= int(text) <= self.most:
            raise argparse.ArgumentTypeError(f"expected {self.least} to {self.most}, got {text!r}")
        return int(text)


@dataclass(slots=True)
class Desk:
    """The parts of one desk, all of them children of this process's keeper."""

    folder: Path
    environment: str
    workers: int
    url: str = ""
    secrets: DeskSecrets | None = None
    service: Child | None = None
    claimed: IO[str] | None = None

    @property
    def logs(self) -> Path:
        """Where what everybody says is kept until the next start."""
        return self.folder / "logs"

    def start(self, port: int) -> None:
        """Start Redis, the simulators and the service, and make the keys that are missing.

        Raises: StackError, ChildError or OSError with what did not work.
        """
        data = self.folder / "data"
        self.claimed = _claimed(self.folder)
        shutil.rmtree(self.logs, ignore_errors=True)  # a child's first word must be today's
        for folder in (self.folder, data, self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        secrets = DeskSecrets.read(self.folder, is_new=not (data / "llmhive.db").exists())
        self.secrets = secrets
        settings = self._settings(secrets.canaries)
        self._command(settings, "migrate", "--quiet")
        for tier in TIERS:
            self._key(settings, f"desk-{tier}", tier, "chat")
        self._key(settings, "desk-admin", "enterprise", "admin")
        secrets.write()
        self.service, self.url = self._serve(settings, port)
        _say(self.claimed, f"process {os.getpid()} at {self.url}")
        ready = f"{self.url}/api/health/ready"
        if not came_true(self._is_ready, within_s=READY_WITHIN_S):
            raise StackError(f"{ready} does not answer 200; see {self.service.stdout_path}")

    def _settings(self, canaries: defaults.Canaries) -> dict[str, str]:
        server = servers.start_redis(programs.redis_server(), self.logs, canaries.redis_password)
        trio = TrioPool(self.logs).take()
        urls = {name: f"http://{trio.address(name)}" for name in trio.ports}
        own = {
            "LLMHIVE_ENVIRONMENT": self.environment,
            "LLMHIVE_INSTANCE": "desk",
            "LLMHIVE_DATA_DIR": str(self.folder / "data"),
            "SHUTDOWN_GRACE_S": "5",
            "DRAIN_SECONDS": "0",
        }
        given = defaults.settings(canaries, redis_url=server.url, urls=urls)
        return {name: text for name, text in given.items() if name not in defaults.SHRUNK} | own

    def _key(self, settings: Mapping[str, str], user: str, tier: str, scope: str) -> None:
        """Make a user's key, if the folder does not hold it yet."""
        assert self.secrets is not None
        if user in self.secrets.keys:
            return
        scopes = ["--scope", "chat"] + (["--scope", "admin"] if scope == "admin" else [])
        tied = ["--stripe-customer", f"cus_{user.replace('-', '_')}"] if scope == "chat" else []
        said = self._command(
            settings, "keys", "create", "--user", user, "--tier", tier, *scopes, *tied, "--json"
        )
        self.secrets.keys[user] = said["key"]

    def _command(self, settings: Mapping[str, str], *arguments: str) -> dict[str, str]:
        with tempfile.TemporaryDirectory() as said:  # it may be a key, which is kept in one place
            done = keeper().run(
                [service_python(), "-P", "-m", "llmhive", *arguments],
                name="command",
                folder=Path(said),
                env={**clean_environment(self.folder), **settings},
                timeout_s=COMMAND_WITHIN_S,
            )
        if done.code:
            raise StackError(f"`llmhive {arguments[0]}` ended with {done.code}: {done.stderr}")
        said = done.json()
        return said if isinstance(said, dict) else {}

    def _serve(self, settings: Mapping[str, str], wanted: int) -> tuple[Child, str]:
        for port in _free_ports(wanted):
            argv = [service_python(), "-P", "-m", "llmhive", "serve", "--port", str(port)]
            child = keeper().start(
                [*argv, "--workers", str(self.workers)],
                name=f"service-{port}",
                folder=self.logs,
                cwd=self.folder,
                env={**clean_environment(self.folder), **settings},
            )
            try:
                return child, str(child.announced("listening", READY_WITHIN_S)["url"])
            except ChildError as error:
                child.kill()
                if "cannot be bound" not in str(error):
                    raise
        raise StackError(f"no free port from {wanted} on; choose one with --port")

    def _is_ready(self) -> bool:
        is_up = self.service is not None and self.service.is_alive
        return is_up and Http(self.url).get("/api/health/ready").status == 200  # noqa: PLR2004

    def greeting(self) -> str:
        """Where it is, and lines to paste."""
        assert self.secrets is not None
        lines = [
            f"llmhive answers at {self.url} (providers and Stripe are simulators)",
            f"kept in {self.folder}: remove the folder to forget all",
            f"keys of every tier, an admin's key, the webhook secret: {self.secrets.file.name}",
            "",
            f"API_KEY={self.secrets.keys['desk-free']}",
        ]
        printed = [text.replace("https://your-domain.com", self.url) for text in _printed()]
        return "\n".join([*lines, *printed, "", "Ctrl-C ends it."])

    def stay(self) -> int:
        """Wait until the service ends by itself; being told to end is a KeyboardInterrupt."""
        assert self.service is not None
        while self.service.wait(within_s=60.0) is None:
            pass
        said = self.service.stderr()[-500:]
        print(f"the service ended with {self.service.exit_code}: {said}", file=sys.stderr)  # noqa: T201  the answer
        return ENDED_BY_ITSELF

    def stop(self) -> None:
        """Let the service finish what is in flight; the keeper ends everything else."""
        if self.service is not None and self.service.is_alive:
            self.service.stop(STOP_WITHIN_S)
            self.service.wait(STOP_WITHIN_S)


def _claimed(folder: Path) -> IO[str]:
    """The folder's file that says whose it is, locked: the kernel frees it, however we end.

    Raises: StackError that names the desk which uses the folder.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (folder / "in-use").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        with file:
            file.seek(0)
            by = file.read()
        raise StackError(f"{folder} is in use by {by}; end that, or give --folder") from error
    _say(file, f"process {os.getpid()}")
    return file


def _say(file: IO[str], text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()


def _printed() -> Iterator[str]:
    yield from PRINTED_COMMANDS.values()


def _free_ports(wanted: int) -> Iterator[int]:
    """The wanted port and those after it that nobody holds at this moment."""
    if wanted == 0:
        yield 0
        return
    for port in range(wanted, min(wanted + PORTS_TRIED, PORT_MAX + 1)):
        with closing(socket.socket()) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((LOOPBACK, port))
            except OSError:
                print(f"port {port} is taken, trying the next", file=sys.stderr)  # noqa: T201  said
                continue
        yield port


if __name__ == "__main__":
    sys.exit(main())
