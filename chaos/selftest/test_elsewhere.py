"""Chaos against somebody else's service: refused in one line, before anything is sent."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from chaos.command import main
from verification.harness.staging.leases import FileLease
from verification.harness.staging.session import lock_file_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE = "storm_from_outside_leaves_nobody_waiting"
HEALTH = "/api/health"


class StandIn(BaseHTTPRequestHandler):
    """Says who it is, and keeps what it was asked."""

    asked: ClassVar[list[str]] = []

    def answer(self) -> None:
        """Health for whoever asks for it, nothing for anything else."""
        self.asked.append(f"{self.command} {self.path}")
        is_known = self.path.split("?")[0] == HEALTH
        told = {"status": "ok", "instance": "theirs", "environment": "staging", "version": "1"}
        body = json.dumps({**told, "components": {}} if is_known else {}).encode()
        self.send_response(200 if is_known else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  names of the library's

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    """Where the stand-in answers."""
    StandIn.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def target_file(folder: Path, url: str, **other: Any) -> Path:
    """A file that names the stand-in."""
    facts = {"instance": "theirs", "requests": 5000, "tokens": 1_000_000} | other
    (folder / "key").write_text("lhk_test")
    file = folder / "target.toml"
    file.write_text(
        f"""
        [target]
        base_url = "{url}"
        environment = "staging"
        instance = "{facts["instance"]}"
        capabilities = ["users"]
        [limits]
        hosts = ["127.0.0.1"]
        requests = {facts["requests"]}
        tokens = {facts["tokens"]}
        [[users]]
        id = "one"
        tier = "enterprise"
        key = "file:{folder / "key"}"
        """
    )
    return file


def aimed(folder: Path, file: Path) -> int:
    """How one experiment ended against the file's target."""
    return main(["--target", str(file), "--only", ONE, "--reports", str(folder / "reports")])


def test_a_run_beside_another_is_refused(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = target_file(tmp_path, url)
    FileLease.take(lock_file_of(file), holder="somebody", run="vfy-other")

    code = aimed(tmp_path, file)

    said = capsys.readouterr().err
    assert (code, said.count("\n")) == (3, 1)
    assert "another run is under way: run vfy-other of somebody" in said
    assert {one.split(" ")[0] for one in StandIn.asked} <= {"GET"}


def test_a_run_beyond_its_budget_is_refused_before_the_first_request(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = aimed(tmp_path, target_file(tmp_path, url, requests=1))

    assert code == 3
    assert "limits.requests (1) does not hold" in capsys.readouterr().err
    assert StandIn.asked == []


def test_another_instance_than_the_files_is_sent_nothing(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = aimed(tmp_path, target_file(tmp_path, url, instance="ours"))

    told = capsys.readouterr()
    assert code != 0
    assert "theirs" in told.out + told.err
    assert {one.split(" ")[0] for one in StandIn.asked} <= {"GET"}
