"""A service that somebody else started, on a real port: health, chat and the operators' routes.

It keeps what it was asked, so that tests can say what was sent and what never was.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ADMIN_KEY = "lhk_admin"
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}

Reply = tuple[int, dict[str, Any]]


@dataclass
class Elsewhere:
    """What the service knows, and what it was asked as method and path."""

    url: str = ""
    instance: str = "staging-1"
    environment: str = "staging"
    asked: list[str] = field(default_factory=list)
    users: dict[str, str] = field(default_factory=dict)
    """User -> tag."""
    lease: dict[str, Any] | None = None
    is_lease_lost: bool = False
    keeps_users: bool = False
    """It says that it deleted, and did not."""

    def answer(self, method: str, url: str, key: str | None, body: dict[str, Any]) -> Reply:
        """Serve one request."""
        parts = urlsplit(url)
        self.asked.append(f"{method} {parts.path}")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.startswith("/api/admin") and key != ADMIN_KEY:
            return 401, {"code": "invalid_api_key"}
        routes: dict[str, Callable[[], Reply]] = {
            "GET /api/health": self._health,
            "POST /api/chat": lambda: (200, {"reply": "hi", "usage": USAGE}),
            "GET /api/admin/run-lease": lambda: (200, {"lease": self.lease}),
            "POST /api/admin/run-lease": lambda: self._take(body),
            "PUT /api/admin/run-lease/l-1": self._renew,
            "DELETE /api/admin/run-lease/l-1": self._release,
            "POST /api/admin/users": lambda: self._make(body),
            "DELETE /api/admin/users": lambda: self._delete(query["tag"]),
            "GET /api/admin/tags": lambda: self._tags(query["prefix"]),
        }
        route = routes.get(f"{method} {parts.path}")
        return route() if route else (404, {"code": "not_found"})

    def _health(self) -> Reply:
        told = {"instance": self.instance, "environment": self.environment, "version": "1.2.3"}
        return 200, {**told, "components": {}, "status": "ok"}

    def _take(self, body: dict[str, Any]) -> Reply:
        before = self.lease
        if before and not before.get("is_expired"):
            detail = f"Run {before['run']} of {before['holder']} holds the lease for 40 s more."
            return 409, {"code": "lease_held", "detail": detail}
        self.lease = {"holder": body["holder"], "run": body["run"]}
        return 201, {"lease_id": "l-1", "took_over": before}

    def _renew(self) -> Reply:
        return (409, {"code": "lease_lost"}) if self.is_lease_lost else (200, {})

    def _release(self) -> Reply:
        self.lease = None
        return 200, {"released": True}

    def _make(self, body: dict[str, Any]) -> Reply:
        self.users[body["user"]] = body["tag"]
        return 201, {"key": f"lhk_{len(self.users)}", "key_id": "key_1", **body}

    def _delete(self, tag: str) -> Reply:
        theirs = [user for user, theirs in self.users.items() if theirs == tag]
        if not self.keeps_users:
            self.users = {user: of for user, of in self.users.items() if of != tag}
        rows = {"users": len(theirs), "api_keys": len(theirs)}
        return 200, {"deleted": len(theirs), "rows": rows, "redis_keys": 0, "left": 0}

    def _tags(self, prefix: str) -> Reply:
        tags = sorted({tag for tag in self.users.values() if tag.startswith(prefix)})
        counts = [{"tag": tag, "users": list(self.users.values()).count(tag)} for tag in tags]
        return 200, {"tags": counts}


@contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    """The service on a port of its own."""
    service = Elsewhere()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            read = self.rfile.read(length)
            body = json.loads(read) if read[:1] == b"{" else {}
            key = (self.headers.get("authorization") or "").removeprefix("Bearer ") or None
            status, told = service.answer(self.command, self.path, key, body)
            text = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815  http.server's names

        def log_message(self, *_: object) -> None:
            """Say nothing; `asked` keeps it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()


FILE = """
[target]
base_url = "{url}"
environment = "staging"
instance = "staging-1"
capabilities = ["users", "metrics"]
providers = ["openai"]
[limits]
hosts = ["127.0.0.1"]
requests = {requests}
tokens = {tokens}
[prices]
tokens_per_chat = 10
{more}
"""
MADE = '[secrets]\nadmin_key = "env:VFY_ADMIN"'
LENT = '[[users]]\nid = "u0"\ntier = "free"\nkey = "env:VFY_KEY"'


def write_file(
    folder: Path, url: str, *, requests: int = 100, tokens: int = 1000, more: str = MADE
) -> Path:
    """A target file for that address; users are made, unless `more` says otherwise."""
    file = folder / "target.toml"
    file.write_text(FILE.format(url=url, requests=requests, tokens=tokens, more=more))
    return file
