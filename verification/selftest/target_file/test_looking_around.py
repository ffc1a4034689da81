"""What a check sees of a target: its certificate, the way from plain HTTP, its name."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from verification.harness.http_client import Http
from verification.harness.staging.example import Example
from verification.harness.staging.look_around import certificate, look_around, redirect
from verification.harness.target_file import read
from verification.selftest.stack import peers
from verification.selftest.target_file.elsewhere import Elsewhere, write_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def secured(folder: Path, *, days: int) -> Iterator[int]:
    """The port of a server with a certificate of its own making, valid for so many days."""
    made = folder / "made.pem"
    program = shutil.which("openssl") or pytest.skip("openssl is not on PATH")
    asked = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days), "-subj", "/CN=127.0.0.1"]
    asked += ["-addext", "subjectAltName=IP:127.0.0.1"]
    asked += ["-keyout", str(made), "-out", str(folder / "trusted.pem")]
    subprocess.run([program, "req", *asked], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "trusted.pem", made)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)

    def serve() -> None:
        with suppress(OSError):
            server.handle_request()

    threading.Thread(target=serve, daemon=True).start()
    yield server.server_port
    server.server_close()


@pytest.mark.parametrize(("days", "is_well"), [(60, True), (3, False)])
def test_a_certificate_is_well_if_it_lasts_for_two_weeks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, days: int, is_well: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))

    with secured(tmp_path, days=days) as port:
        look = certificate("127.0.0.1", port)

    assert (look.is_well, f"valid for {days - 1} days" in look.seen) == (is_well, True), look


def test_a_certificate_that_nobody_vouches_for_is_not_well(tmp_path: Path) -> None:
    with secured(tmp_path, days=60) as port:
        look = certificate("127.0.0.1", port)

    assert (look.is_well, "verify failed" in look.seen) == (False, True)


HEAD = b"HTTP/1.1 %s\r\nContent-Length: 0\r\n%s\r\n"
PLAIN = {
    "to https": (b"308 Permanent Redirect", b"Location: https://a.example/\r\n", True),
    "to http": (b"302 Found", b"Location: http://a.example/\r\n", False),
    "served": (b"200 OK", b"", False),
}


@pytest.mark.parametrize("case", PLAIN)
def test_plain_http_is_well_if_it_leads_to_https(case: str) -> None:
    status, field, is_well = PLAIN[case]

    with peers.peer(lambda wire: wire.sendall(HEAD % (status, field))) as url:
        assert redirect(Http(url)).is_well is is_well


def test_plain_http_that_is_not_served_is_well() -> None:
    assert redirect(Http("http://127.0.0.1:1")).is_well


def test_a_name_that_does_not_resolve_is_said(tmp_path: Path) -> None:
    file = write_file(tmp_path, "http://127.0.0.1:1")
    text = file.read_text().replace("http://127.0.0.1:1", "http://nowhere.invalid")
    file.write_text(text.replace('["127.0.0.1"]', '["nowhere.invalid"]'))

    name = next(look_around(read(file)))

    assert (name.is_well, str(name).startswith("BAD name nowhere.invalid")) == (False, True)


def test_an_example_is_filled_in_by_the_service_and_the_names_of_secrets(
    tmp_path: Path, staging: Elsewhere
) -> None:
    secrets, file = tmp_path / "secrets.env", tmp_path / "new.toml"
    secrets.write_text("KEY_DESK_ADMIN=lhk_1\nSTRIPE_WEBHOOK_SECRET=whsec_1\nOTHER=x\n")
    example = Example()

    example.ask(staging.url)
    example.refer_to(secrets)

    file.write_text(example.text())
    target = read(file)
    assert (target.base_url, target.instance, target.environment) == (
        staging.url,
        "staging-1",
        "staging",
    )
    assert target.secrets == {"admin_key": "lhk_1", "stripe_webhook": "whsec_1"}
    assert "lhk_1" not in file.read_text()
