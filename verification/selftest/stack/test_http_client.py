"""HTTP as a claim sees it: whatever the network does becomes an Answer that says so."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from verification.harness.http_client import Answer, Http
from verification.selftest.stack import peers

if TYPE_CHECKING:
    from collections.abc import Callable

DEEDS: dict[str, tuple[Callable[[socket.socket], object], int, str]] = {
    "hangs": (peers.hangs, 0, "read_timeout"),
    "closes": (peers.closes, 0, "closed"),
    "resets": (peers.resets, 0, "reset"),
    "cuts the body": (peers.answers(b"half", promised=8), 200, "closed"),
    "drips for ever": (peers.drips, 200, "read_timeout"),
    "speaks something else": (lambda wire: wire.sendall(b"SSH-2.0-x\r\n\r\n"), 0, "closed"),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_what_the_network_does_is_named(deed: str) -> None:
    behave, status, error = DEEDS[deed]

    with peers.peer(behave) as url:
        answer = Http(url).get("/", timeout_s=0.3)

    assert (answer.status, answer.error) == (status, error)
    assert not answer.never_sent


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:1", "refused"),
        ("nonsense", "invalid_request"),
        ("http://127.0.0.1:port", "invalid_request"),
    ],
    ids=["nobody listens", "no url", "half a url"],
)
def test_what_was_never_sent_is_known_to_have_had_no_effect(url: str, error: str) -> None:
    answer = Http(url).get("/")

    assert (answer.error, answer.never_sent) == (error, True)


def test_a_cut_body_keeps_what_came() -> None:
    with peers.peer(peers.answers(b"half", promised=8)) as url:
        answer = Http(url).get("/")

    assert (answer.text, answer.json(), answer.is_complete) == ("half", None, False)


def test_a_caller_can_leave_in_the_middle() -> None:
    with peers.peer(peers.drips) as url:
        answer = Http(url).get("/", leave_when=lambda body: len(body) >= 3)

    assert answer.error == "left"
    assert len(answer.body) == 3


def test_requests_use_fresh_connections_unless_kept_open() -> None:
    wires: list[int] = []

    def behave(wire: socket.socket) -> None:
        wires.append(wire.fileno())
        while True:
            wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            if not wire.recv(65536):
                return

    with peers.peer(behave) as url:
        http = Http(url)
        assert [http.get("/").status for _ in range(2)] == [200, 200]
        assert len(wires) == 2
        with http.kept_open() as kept:
            assert [kept.get("/").status for _ in range(3)] == [200, 200, 200]
    assert len(wires) == 3


def test_times_of_an_answer_are_in_order() -> None:
    with peers.peer(peers.answers(b"{}")) as url:
        answer = Http(url).get("/")

    assert answer.first_byte_s is not None
    assert answer.sent_s < answer.first_byte_s <= answer.done_s


def test_what_no_library_sends_can_be_sent_raw() -> None:
    with peers.peer(peers.answers(b"raw")) as url:
        heard = Http(url).raw([b"GET / HTTP/1.1\r\n", b"Host : broken\r\n\r\n"], timeout_s=5)

    assert heard.endswith(b"raw")


def test_every_answer_is_handed_on_and_every_request_asked_for() -> None:
    seen: list[Answer] = []
    asked: list[tuple[str, str]] = []

    with peers.peer(peers.answers(b"{}")) as url:
        http = Http(url, on_answer=seen.append, gate=lambda *what: asked.append(what))
        answer = http.post("/x", json={"a": 1}, key="secret")

    assert (asked, seen) == ([("POST", f"{url}/x")], [answer])
    assert answer.request.body == b'{"a": 1}'
    assert ("authorization", "Bearer secret") in answer.request.headers


def test_a_worker_is_known_by_its_header() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Served-By: vfy-1/host-4711\r\nContent-Length: 0\r\n\r\n"

    with peers.peer(lambda wire: wire.sendall(head)) as url:
        answer = Http(url).get("/")

    assert (answer.served_by, answer.worker_pid) == ("vfy-1/host-4711", 4711)
