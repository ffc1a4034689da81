"""The whole suite aimed at what is no service of ours: a report and its exit code, no traceback."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from verification.harness.staging import sighting
from verification.selftest.plugin.inner_run import run_the_suites
from verification.selftest.stack import peers
from verification.selftest.target_file.elsewhere import LENT, write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and says nothing about it."""

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@contextmanager
def static_server() -> Iterator[str]:
    """The URL of a server of the files beside this one."""
    serve = partial(Quiet, directory=str(Path(__file__).parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), serve)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


CASES: dict[str, tuple[Callable[[], AbstractContextManager[str]], int, str]] = {
    "a-static-web-server": (static_server, 1, "fail"),
    "a-port-that-hangs": (lambda: peers.peer(peers.hangs), 2, "unknown"),
    "a-port-that-closes-at-once": (lambda: peers.peer(peers.closes), 2, "unknown"),
}


@pytest.mark.end_to_end
@pytest.mark.parametrize("case", CASES)
def test_the_run_ends_with_a_readable_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    stand, code, verdict = CASES[case]
    monkeypatch.setattr(sighting, "LOOK_WITHIN_S", 1.0)

    with stand() as url:
        ran = run_the_suites(tmp_path, f"--target={write_file(tmp_path, url, more=LENT)}")

    assert (ran.code, ran.readiness["verdict"]) == (code, verdict), ran.output
    assert f"{verdict}: 0 of 130 lines verified" in ran.output
    page = (ran.reports / "report.html").read_text()
    assert not any("Traceback" in text or "INTERNALERROR" in text for text in (ran.output, page))
