"""The supervisor and its workers as real processes: start, death, drain, cut, refusal.

Few and slow on purpose: everything that needs no process is tested elsewhere.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

pytestmark = pytest.mark.end_to_end

ROOT: Final = Path(__file__).parents[3]
# A start is a second alone, several on a busy machine.
LINE_WITHIN_S: Final = 20.0
QUICK: Final = {"DRAIN_SECONDS": "0.5", "SHUTDOWN_GRACE_S": "0.5", "HEALTH_PROBE_INTERVAL_S": "0.1"}


class Running:
    """`llmhive serve` with its log lines as they come."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "llmhive", "serve", *arguments],
            env=environment(folder, **settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(json.loads(line))

    def event(self, name: str) -> dict[str, Any]:
        """The next line of that event."""
        while True:
            line = self._lines.get(timeout=LINE_WITHIN_S)
            if line["event"] == name:
                return line

    def get(self, port: int, path: str) -> tuple[int, dict[str, str]]:
        """Status and headers of one request on a connection of its own."""
        with closing(
            http.client.HTTPConnection("127.0.0.1", port, timeout=LINE_WITHIN_S)
        ) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders())

    def end(self) -> None:
        """Whatever is left."""
        self.process.kill()
        self.process.communicate(timeout=LINE_WITHIN_S)


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Nothing of this process but what Python needs."""
    passed = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    passed |= {name: text for name, text in os.environ.items() if name.startswith("COVERAGE_")}
    data = {"LLMHIVE_DATA_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    return {**passed, **data, **QUICK, "OPENAI_API_KEY": "sk-canary-0123", **settings}


@pytest.fixture
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    """Two workers, or as many as a test asks for, with its settings."""
    workers, settings = getattr(request, "param", (2, {}))
    running = Running(tmp_path, "--port", "0", "--workers", str(workers), **settings)
    yield running
    running.end()


@pytest.mark.skipif(sys.platform != "linux", reason="threads are read from /proc")
def test_whoever_forks_has_no_other_thread(service: Running) -> None:
    service.event("listening")

    threads = list(Path(f"/proc/{service.process.pid}/task").iterdir())

    assert [thread.name for thread in threads] == [str(service.process.pid)]


def test_a_killed_worker_is_replaced_and_a_stop_is_clean(service: Running) -> None:
    first = service.event("worker_started")["pid"]
    port = service.event("listening")["port"]
    os.kill(first, signal.SIGKILL)
    died = service.event("worker_died")
    service.event("worker_started")
    status, headers = service.get(port, "/api/health/live")

    service.process.send_signal(signal.SIGTERM)

    assert (died["pid"], died["exit_code"], status) == (first, -signal.SIGKILL, 200)
    assert str(first) not in headers["x-served-by"]
    assert service.process.wait(LINE_WITHIN_S) == 0


@pytest.mark.parametrize("service", [(1, {"DRAIN_SECONDS": "60"})], ids=["long"], indirect=True)
def test_a_draining_service_is_not_ready_and_still_accepts(service: Running) -> None:
    port = service.event("listening")["port"]

    service.process.send_signal(signal.SIGTERM)
    service.event("draining")
    ready, _ = service.get(port, "/api/health/ready")
    live, headers = service.get(port, "/api/health/live")
    service.process.send_signal(signal.SIGTERM)  # whoever asks twice does not wait

    assert (ready, live, headers["connection"]) == (503, 200, "close")
    assert service.process.wait(LINE_WITHIN_S) == 1


def begun(port: int, path: str) -> socket.socket:
    """A connection on which a request was begun whose body never comes."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=LINE_WITHIN_S)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n"
    connection.sendall(head.encode())
    return connection


LATE: Final = {"BODY_DEADLINE_S": "1", "SHUTDOWN_GRACE_S": "15"}


@pytest.mark.parametrize("service", [(1, LATE)], ids=["late"], indirect=True)
def test_a_body_that_never_comes_holds_up_no_clean_stop(service: Running) -> None:
    port = service.event("listening")["port"]

    with begun(port, "/api/billing/webhooks") as waiting:
        service.process.send_signal(signal.SIGTERM)
        answer = waiting.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer
    assert service.process.wait(LINE_WITHIN_S) == 0


@pytest.mark.parametrize("service", [(1, LATE)], ids=["late"], indirect=True)
def test_a_body_that_nobody_reads_keeps_no_connection_for_ever(service: Running) -> None:
    port = service.event("listening")["port"]

    with begun(port, "/nowhere") as connection:
        answer = connection.recv(65_536)
        connection.sendall(b"{")  # whoever sends is not idle
        rest = connection.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 404 ")
    assert not rest.startswith(b"HTTP/1.1")


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux shows a process as a file")
def test_no_worker_outlives_a_killed_supervisor(service: Running) -> None:
    pids = [service.event("worker_started")["pid"] for _ in range(2)]
    service.event("listening")
    watched = [os.pidfd_open(pid) for pid in pids]

    service.process.kill()

    for descriptor in watched:
        assert select.select([descriptor], [], [], LINE_WITHIN_S)[0] == [descriptor]
        os.close(descriptor)


def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "llmhive", *arguments],
        env=environment(folder, **settings),
        capture_output=True,
        text=True,
        timeout=LINE_WITHIN_S,
        check=False,
    )


def test_a_port_that_is_taken_is_told_and_ends_with_3(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        done = run(tmp_path, "serve", "--port", port)

    assert (done.returncode, done.stdout) == (3, "")
    assert f"--port {port}" in done.stderr


def test_wrong_settings_are_told_in_plain_words_and_end_with_3(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", S4_LLM_TIMEOUT="x", RETRY_ATTEMPTS="0")

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 2


def test_keys_are_made_revoked_and_never_shown_by_the_doctor(tmp_path: Path) -> None:
    made = json.loads(run(tmp_path, "keys", "create", "--user", "ann", "--json").stdout)

    revoked = run(tmp_path, "keys", "revoke", made["key"])
    again = run(tmp_path, "keys", "revoke", "key_unknown")
    doctor = run(tmp_path, "doctor", "--json")

    assert (made["user"], made["tier"]) == ("ann", "free")
    assert (revoked.returncode, again.returncode, doctor.returncode) == (0, 1, 0)
    assert "canary" not in doctor.stdout


def test_only_development_migrates_by_itself(tmp_path: Path) -> None:
    before = run(tmp_path, "keys", "create", "--user", "ann", LLMHIVE_ENVIRONMENT="staging")
    migrated = run(tmp_path, "migrate", LLMHIVE_ENVIRONMENT="staging")
    after = run(tmp_path, "keys", "create", "--user", "ann", LLMHIVE_ENVIRONMENT="staging")

    assert (before.returncode, migrated.returncode, after.returncode) == (1, 0, 0)
    assert "llmhive migrate" in before.stderr


def test_a_stop_while_the_workers_begin_ends_all_of_them(service: Running) -> None:
    service.event("worker_started")

    service.process.send_signal(signal.SIGTERM)

    assert service.process.wait(LINE_WITHIN_S) == 0
    assert service.event("stopped")["exit_code"] == 0


def test_the_supervisor_is_among_no_metrics_and_every_worker_is(service: Running) -> None:
    workers = [service.event("worker_started")["pid"] for _ in range(2)]
    listening = service.event("listening")

    files = list(service.folder.glob("run/metrics-*/*.db"))

    owners = {int(file.stem.rpartition("_")[2]) for file in files}
    assert owners == set(workers)
    assert listening["pid"] not in owners
