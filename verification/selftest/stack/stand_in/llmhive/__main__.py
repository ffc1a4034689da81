"""A stand-in for the service, for tests of the stack: the same command line, hardly any service.

Standard library only; found by `python -P -m llmhive` when LLMHIVE_OVERLAY names this folder's
parent. It answers health, echoes chat, makes keys, and obeys signals like the real one.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sqlite3
import sys
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# A chat with this text counts as a provider's failure.
TROUBLE = "trouble"
FAILED: list[str] = []


def failures() -> str:
    """What the service would count."""
    return f'llmhive_circuit_calls_total{{service="x",outcome="failure"}} {len(FAILED)}\n'


class Door(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"  # keeps connections

    def do_GET(self) -> None:
        """Health and metrics."""
        health = {
            "status": "ok",
            "instance": os.environ["LLMHIVE_INSTANCE"],
            "environment": os.environ["LLMHIVE_ENVIRONMENT"],
            "components": {},
        }
        pages = {
            "/api/health": json.dumps(health),
            "/api/health/live": "{}",
            "/api/health/ready": "{}",
            "/api/metrics": f'# TYPE up gauge\nup{{worker="1"}} 1\n{failures()}',
        }
        self.answer(200 if self.path in pages else 404, pages.get(self.path, "{}"))

    def do_POST(self) -> None:
        """Chat: an echo. It has no operator's routes."""
        sent = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))))
        if self.path != "/api/chat":
            self.answer(404, "{}")
            return
        say({"event": "request", "message": sent["message"]})
        FAILED.extend([sent["message"]] * (sent["message"] == TROUBLE))
        if sent.get("stream"):
            events = [("token", {"text": "echo: "}), ("token", {"text": sent["message"]})]
            frames = [*events, ("done", {"finish_reason": "stop"})]
            text = "".join(f"event: {e}\ndata: {json.dumps(d)}\n\n" for e, d in frames)
            self.answer(200, text, "text/event-stream")
        else:
            self.answer(200, json.dumps({"reply": "echo: " + sent["message"]}))

    def answer(self, status: int, body: str, kind: str = "application/json") -> None:
        """Answer with a body, and say who did."""
        self.send_response(status)
        self.send_header("X-Served-By", f"{os.environ['LLMHIVE_INSTANCE']}/here-{os.getpid()}")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Nothing but our own lines go to the log."""


def say(fact: dict[str, object]) -> None:
    """One JSON line on stdout."""
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()


def work(listener: socket.socket) -> None:
    """Serve on the inherited socket until a signal."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Door, bind_and_activate=False)
    server.socket = listener
    server.serve_forever()


def fork(listener: socket.socket) -> None:
    """One worker."""
    if os.fork() == 0:
        work(listener)


def remember(*ids: str) -> None:
    """Write ids into the database; it is made first if need be."""
    file = Path(os.environ.get("LLMHIVE_DATA_DIR", ".")) / "llmhive.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS seen (id TEXT)")
        database.executemany("INSERT INTO seen VALUES (?)", [(each,) for each in ids])


def serve(workers: int, port: int) -> None:
    """Announce, serve, replace dead workers, end on SIGTERM."""
    if "STAND_IN_PROBLEM" in os.environ:
        sys.stderr.write(f"STAND_IN_PROBLEM: {os.environ['STAND_IN_PROBLEM']}\n")
        sys.exit(3)
    remember()
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        sys.stderr.write(f"--port {port}: cannot be bound: {error}\n")
        sys.exit(3)
    for _ in range(workers):
        fork(listener)
    port = listener.getsockname()[1]
    say({"event": "listening", "url": f"http://127.0.0.1:{port}"})
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    while True:
        os.wait()
        fork(listener)


def main() -> None:
    """`serve --port 0 --workers N`, `keys create …`, `migrate`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="+")
    for option in ("--user", "--tier", "--stripe-customer"):
        parser.add_argument(option)
    parser.add_argument("--scope", action="append")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.words == ["serve"]:
        serve(asked.workers, asked.port)
    elif asked.words == ["keys", "create"]:
        key = f"key-{asked.user}"
        remember(asked.user)  # never the key itself
        say({"key": key, "key_id": "k1", "user": asked.user, "tier": asked.tier})
    else:
        if asked.words == ["migrate"]:
            remember()
        Path(asked.words[0]).touch()


if __name__ == "__main__":
    main()
