"""The keeper: a small process that starts every child and outlives its worker just long enough.

Run by file, standard library only. It takes orders as JSON lines on stdin, a lifetime pipe:
when the worker dies, however it dies, stdin ends, and the keeper kills every process group
that it started, removes folders and runs the last commands (containers). It also watches
the controller of the run, and kills a worker that was left behind. Children are started here
rather than in the worker, so that there is no moment in which one exists unguarded.
Source: the lifetime pipe reaps where PR_SET_PDEATHSIG, tied to a thread, does not.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# How soon a dead controller or child is noticed when nothing else wakes the keeper.
LOOK_EVERY_S = 0.2
# A last command (removing containers) that takes longer is given up.
LAST_COMMAND_WITHIN_S = 30.0


def birth(pid: int) -> str | None:
    """When a process began, as a text that no later process of the same id shares.

    None when there is no such process, or only its corpse.
    """
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    if Path("/proc/self/stat").exists():
        return None
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return None if not shown or shown.startswith("Z") else shown.partition(" ")[2]


class Keeper:
    """Starts, signals and reaps children; ends them all when its stdin ends."""

    def __init__(self, watched: list[tuple[int, str]], worker: int) -> None:
        self.children: dict[int, subprocess.Popen[bytes]] = {}
        self.ended: set[int] = set()
        self.deadlines_s: dict[int, float] = {}
        self.folders: list[str] = []
        self.last_commands: list[list[str]] = []
        self.watched = watched
        self.worker = worker

    def serve(self) -> None:
        """Obey until stdin ends or the controller is gone."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        unread = b""
        while True:
            ready = select.select([0, wake_read], [], [], LOOK_EVERY_S)[0]
            if wake_read in ready:
                os.read(wake_read, 4096)
            self.look()
            if any(birth(pid) != born for pid, born in self.watched):
                os.kill(self.worker, signal.SIGKILL)  # its controller is gone
                return
            if 0 in ready:
                if not (piece := os.read(0, 65536)):
                    return
                *lines, unread = (unread + piece).split(b"\n")
                for line in lines:
                    self.obey(json.loads(line))

    def obey(self, order: dict[str, Any]) -> None:
        """Do one order and answer it."""
        try:
            answer = getattr(self, f"do_{order.pop('do')}")(**order["with"])
        except (OSError, ValueError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        say({"id": order["id"], **(answer or {})})

    def do_start(
        self,
        argv: list[str],
        env: dict[str, str],
        cwd: str,
        stdout: str,
        stderr: str,
        *,
        lifetime_pipe: bool,
    ) -> dict[str, Any]:
        """Start a child as leader of its own group."""
        with Path(stdout).open("ab") as out, Path(stderr).open("ab") as err:
            child = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=subprocess.PIPE if lifetime_pipe else subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.children[child.pid] = child
        return {"pid": child.pid, "born": birth(child.pid)}

    def do_signal(self, pid: int, number: int, *, group: bool) -> dict[str, Any]:
        """Signal a child, or all of its group. A stranger is never hit: see `exit_code`."""
        child = self.children.get(pid)
        if child is None or (not group and exit_code(child) is not None):
            return {"sent": False}
        (os.killpg if group else os.kill)(pid, number)
        return {"sent": True}

    def do_stop(self, pid: int, grace_s: float) -> dict[str, Any]:
        """SIGTERM now, SIGKILL to the group when the grace is over; does not wait."""
        if pid in self.children:
            self.deadlines_s[pid] = time.monotonic() + grace_s
            os.kill(pid, signal.SIGTERM)
        return {}

    def do_remove_at_end(self, folder: str) -> dict[str, Any]:
        """Remove this folder when everything is over."""
        self.folders.append(folder)
        return {}

    def do_run_at_end(self, argv: list[str]) -> dict[str, Any]:
        """Run this command when everything is over."""
        self.last_commands.append(argv)
        return {}

    def look(self) -> None:
        """Report the children that ended; bury those that were to stop and have, or are late."""
        for pid, child in list(self.children.items()):
            code = exit_code(child)
            if code is not None and pid not in self.ended:
                self.ended.add(pid)
                say({"exited": pid, "code": code})
            deadline_s = self.deadlines_s.get(pid)
            if deadline_s is not None and (code is not None or time.monotonic() >= deadline_s):
                self.bury(pid)

    def bury(self, pid: int) -> None:
        """Kill what is left of a child's group, and give its process id back."""
        kill_group(pid)
        code = self.children.pop(pid).wait()
        self.deadlines_s.pop(pid, None)
        if pid not in self.ended:
            say({"exited": pid, "code": code})
        self.ended.discard(pid)

    def end(self) -> None:
        """Leave nothing behind."""
        for pid in list(self.children):
            self.bury(pid)
        for argv in self.last_commands:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=LAST_COMMAND_WITHIN_S,
                    check=False,
                )
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)


def exit_code(child: subprocess.Popen[bytes]) -> int | None:
    """How a child ended, None while it runs, leaving its corpse where the system can.

    The corpse keeps the id of the process and of its group from being given to a stranger,
    while what the child left behind in its group is still somebody's business.
    """
    if child.returncode is not None or not hasattr(os, "waitid"):
        return child.poll()
    seen = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if seen is None:
        return None
    return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status


def kill_group(pid: int) -> None:
    """SIGKILL a child's whole group; none left is as good."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def say(fact: dict[str, Any]) -> None:
    """One JSON line to the worker; a worker that is gone needs none."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(fact).encode() + b"\n")


def main() -> None:
    """Keep what `argv[2:]` (the controller's pid and birth, if any) and worker `argv[1]` need."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        # Only the end of the worker ends the keeper. A handler, since SIG_IGN would be inherited.
        signal.signal(number, lambda *_: None)
    controller = sys.argv[2:]
    watched = [(int(controller[0]), controller[1])] if controller else []
    keeper = Keeper(watched, worker=int(sys.argv[1]))
    try:
        keeper.serve()
    finally:
        keeper.end()


if __name__ == "__main__":
    main()
