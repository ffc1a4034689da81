"""The HTTP of the simulators: kept connections, requests in any pieces, bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from verification.selftest.simulators.callers import (
    ADDRESSES,
    connected,
    over,
    read_answer,
    seen,
    spelled,
    until_end,
)

if TYPE_CHECKING:
    from verification.harness.simulated import SimulatedProvider

# More than the kernel keeps for a connection whose reader does not read.
LARGE = 6_000_000
CLOSE = b"GET /_control/identity HTTP/1.1\r\nConnection: close\r\n\r\n"


def test_one_connection_serves_one_call_after_the_other(openai: SimulatedProvider) -> None:
    answers = []
    with connected(openai) as wire:
        for text in ("first", "second"):
            wire.sendall(spelled(openai, text))
            answers.append(read_answer(wire))

    assert [b"first" in answers[0].body, b"second" in answers[1].body] == [True, True]


def test_calls_sent_ahead_are_answered_in_their_order(openai: SimulatedProvider) -> None:
    openai.reply(contains="slow", delay_s=0.05)

    got = seen(openai, spelled(openai, "slow") + spelled(openai, "fast") + CLOSE)

    places = [got.data.index(word) for word in (b'"slow"', b'"fast"', b'"name":"openai"')]
    assert places == sorted(places)


def test_a_call_may_come_byte_by_byte(openai: SimulatedProvider) -> None:
    call = spelled(openai, "piecemeal")

    got = seen(openai, *(call[at : at + 1] for at in range(len(call))), CLOSE)

    assert b"piecemeal" in got.body


def test_a_call_may_come_in_chunks(openai: SimulatedProvider) -> None:
    head, _, body = spelled(openai, "in chunks").partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:9], body[9:]))
    call = b"\r\n".join([*lines, b"Transfer-Encoding: chunked"]) + b"\r\n\r\n" + chunks

    got = seen(openai, call[:-30], call[-30:] + b"0\r\n", b"\r\n" + CLOSE)

    assert b'"in chunks"' in got.body


def test_a_caller_who_waits_to_be_told_is_told(openai: SimulatedProvider) -> None:
    head, _, body = spelled(openai).partition(b"\r\n\r\n")
    with connected(openai) as wire:
        wire.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        told = wire.recv(100)
        wire.sendall(body)

        assert (told, b"200 OK" in read_answer(wire).head) == (
            b"HTTP/1.1 100 Continue\r\n\r\n",
            True,
        )


def test_the_old_http_gets_a_stream_that_ends_with_the_connection(
    openai: SimulatedProvider,
) -> None:
    call = spelled(openai, stream=True).replace(b"HTTP/1.1", b"HTTP/1.0")

    got = seen(openai, call)

    assert b"chunked" not in got.head
    assert got.body.endswith(b"data: [DONE]\n\n")


def test_a_reader_who_is_slow_gets_everything(openai: SimulatedProvider) -> None:
    openai.reply(text="x" * LARGE)

    with connected(openai, receives_bytes=4096) as wire:
        wire.sendall(spelled(openai))
        openai.wait_for_calls(1, 10)
        unfinished = openai.journal()[0].ended_s
        got = read_answer(wire)

    assert (unfinished, got.body.count(b"x") >= LARGE) == (None, True)


def test_a_reader_who_leaves_a_large_answer_is_noted(openai: SimulatedProvider) -> None:
    openai.reply(text="x" * LARGE)
    with connected(openai, receives_bytes=4096) as wire:
        wire.sendall(spelled(openai))
        openai.wait_for_calls(1, 10)

    call = over(openai)
    assert (call.status, call.hung_up_s) == (200, call.ended_s)


PATH = ADDRESSES["openai"][0].encode()
WRONG = {
    "no request": (b"hello\r\n\r\n", b"400"),
    "another protocol": (b"GET / HTTP/2.0\r\n\r\n", b"400"),
    "a header without a name": (b"GET / HTTP/1.1\r\n: x\r\n\r\n", b"400"),
    "a length that is none": (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
    "two lengths": (
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"400",
    ),
    "a chunk that is none": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"400",
    ),
    "too long a body": (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
    "too long a head": (b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000, b"431"),
}


@pytest.mark.parametrize(("call", "status"), WRONG.values(), ids=list(WRONG))
def test_what_is_no_call_is_refused_and_the_connection_ended(
    openai: SimulatedProvider, call: bytes, status: bytes
) -> None:
    got = seen(openai, call)

    assert (got.data[9:12], got.ending) == (status, "fin")
    assert openai.journal() == []


def test_who_sends_without_end_while_served_is_not_read_without_end(
    openai: SimulatedProvider,
) -> None:
    openai.reply(hold="gate", times=1)
    ahead = spelled(openai, "y" * 200_000)
    with connected(openai) as wire:
        wire.sendall(spelled(openai, "held"))
        openai.wait_for_held(1, 10, "gate")
        for _ in range(10):
            wire.sendall(ahead)
        openai.release("gate")
        wire.sendall(CLOSE)
        got = until_end(wire)

    assert got.data.count(b"HTTP/1.1 200 OK") == 12
