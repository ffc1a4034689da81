"""How each kind of deed is undone, whoever did it: by identity, never by a bare number.

A process is known by its id and its birth in this boot, or by standing in a folder that one
run made for itself; a proxy by its unique name; a container by its label. Whatever is gone
needs no undoing. A new kind is a function in WAYS. May import lifetime and toxiproxy_link.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from verification.harness import lifetime
from verification.harness.toxiproxy_link import Toxiproxy, ToxiproxyError
from verification.harness.waiting import came_true

GONE: Final = "gone with its run"
NOTHING: Final = "nothing"
"""The kind of a deed that ends with its run, or cannot be taken back."""
# A killed process is gone at once; its memory may take a busy machine a moment.
DEAD_WITHIN_S: Final = 10.0
CONTAINERS_WITHIN_S: Final = 60.0
# The suite's own folders, and no others, are removed.
FOLDER_PREFIX: Final = "llmhive-"
REMOVAL: Final = Path(__file__).parent / "stack" / "container_removal.py"


class NotUndoneError(Exception):
    """Still there after everything was tried."""


def boot_id() -> str:
    """This start of the machine: births of processes are counted from it."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return ""


def identity(pid: int) -> dict[str, Any]:
    """What tells a living process from every other one: facts for a deed of kind process."""
    return {"pid": pid, "born": lifetime.birth(pid), "boot": boot_id()}


def end_process(facts: dict[str, Any]) -> str:
    """Kill a process with its group, if it is still the one that was started."""
    pid, born = int(facts["pid"]), facts["born"]
    if born is None or facts["boot"] != boot_id() or lifetime.birth(pid) != born:
        return GONE
    lifetime.kill_group(pid)
    _kill(pid, lambda: lifetime.birth(pid) == born)
    if not came_true(lambda: lifetime.birth(pid) != born, within_s=DEAD_WITHIN_S):
        raise NotUndoneError(f"process {pid} does not die")
    return "was alone and alive, killed"


def remove_folder(facts: dict[str, Any]) -> str:
    """Kill whoever works in a folder that a run made for itself, and remove the folder."""
    folder = Path(facts["path"])
    if not folder.name.startswith(FOLDER_PREFIX):
        raise NotUndoneError(f"{folder} is no folder of a run: expected {FOLDER_PREFIX}…")
    if not folder.exists():
        return GONE
    killed = [pid for pid in _working_in(folder) if _kill(pid, partial(_stands_in, pid, folder))]
    if not came_true(lambda: not list(_working_in(folder)), within_s=DEAD_WITHIN_S):
        raise NotUndoneError(f"processes {sorted(_working_in(folder))} do not die")
    shutil.rmtree(folder, ignore_errors=True)
    return f"removed, {len(killed)} processes in it killed" if killed else "removed"


def _working_in(folder: Path) -> Iterator[int]:
    """The living processes whose working directory lies in the folder."""
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if pid != os.getpid() and _stands_in(pid, folder):
            yield pid


def _stands_in(pid: int, folder: Path) -> bool:
    with suppress(OSError):
        at = Path(f"/proc/{pid}/cwd").readlink()
        return at.is_relative_to(folder.resolve()) and lifetime.birth(pid) is not None
    return False


def _kill(pid: int, is_it: Callable[[], bool]) -> bool:
    """SIGKILL a process by a handle behind which no later process of the same id can stand."""
    with suppress(ProcessLookupError, PermissionError), ExitStack() as held:
        send: Callable[[int], None] = partial(os.kill, pid)
        if sys.platform == "linux":
            handle = os.pidfd_open(pid)
            held.callback(os.close, handle)
            send = partial(signal.pidfd_send_signal, handle)
        if is_it():
            send(signal.SIGKILL)
            return True
    return False


def remove_containers(facts: dict[str, Any]) -> str:
    """Remove the containers that carry a label of the run."""
    command = [sys.executable, str(REMOVAL), str(facts["label"])]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=CONTAINERS_WITHIN_S
        )
    except subprocess.TimeoutExpired as error:
        raise NotUndoneError(f"the Docker daemon does not answer: {error}") from error
    if done.returncode:
        raise NotUndoneError(done.stderr.strip())
    removed = int(done.stdout.strip() or 0)
    return f"{removed} removed" if removed else GONE


def remove_toxic(facts: dict[str, Any]) -> str:
    """Remove a toxic from the proxy of that name, where the proxy still exists."""
    return _on_proxy(facts, lambda server, name: server.remove_toxic(name, str(facts["toxic"])))


def open_proxy(facts: dict[str, Any]) -> str:
    """Let a proxy that refuses connections take them again."""
    return _on_proxy(facts, lambda server, name: server.update(name, enabled=True))


def _on_proxy(facts: dict[str, Any], act: Callable[[Toxiproxy, str], None]) -> str:
    server, name = Toxiproxy(str(facts["host"]), int(facts["port"])), str(facts["proxy"])
    try:
        if name not in server.proxies():
            return GONE
    except (ToxiproxyError, ValueError):
        return GONE  # names are unique: whoever answers there now, has no such proxy
    try:
        act(server, name)
    except ToxiproxyError as error:
        raise NotUndoneError(str(error)) from error
    return "was left, undone"


def nothing(facts: dict[str, Any]) -> str:
    """Nothing has to be undone: the deed ends with its run, or cannot be taken back."""
    return str(facts["because"])


WAYS: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "process": end_process,
    "folder": remove_folder,
    "containers": remove_containers,
    "toxic": remove_toxic,
    "closed_proxy": open_proxy,
    NOTHING: nothing,
}
"""Kind of deed -> what undoes it, given its facts; says what it found. Raises NotUndoneError."""
