"""How an answer ends too early: at any byte, with FIN, RST or half, after any chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from verification.selftest.simulators.callers import (
    PATIENCE_S,
    ask,
    connected,
    reset,
    seen,
    spelled,
    until_end,
)

if TYPE_CHECKING:
    from verification.harness.simulated import SimulatedProvider

ENDINGS = pytest.mark.parametrize("cut", ["fin", "rst"])


@ENDINGS
@pytest.mark.parametrize("size", [0, 1, 17, 100])
def test_an_answer_is_cut_at_any_byte(provider: SimulatedProvider, size: int, cut: str) -> None:
    provider.reply(text="x" * 200, cut_after_bytes=size, cut=cut)

    got = seen(provider, spelled(provider))

    assert (len(got.body), got.ending) == (size, cut)
    assert b"200 OK" in got.head


@ENDINGS
@pytest.mark.parametrize("size", [1, 400, 5000])
def test_a_stream_is_cut_at_any_byte(provider: SimulatedProvider, size: int, cut: str) -> None:
    provider.reply(chunks=["x" * 200] * 50, cut_after_bytes=size, cut=cut)

    got = seen(provider, spelled(provider, stream=True))

    assert (sum(map(len, got.chunks)), got.ending) == (size, cut)


@ENDINGS
def test_a_call_may_be_cut_off_without_a_byte(provider: SimulatedProvider, cut: str) -> None:
    provider.reply(cut=cut)

    got = seen(provider, spelled(provider))

    assert (got.data, got.ending) == (b"", cut)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_stream_is_cut_after_a_chunk(provider: SimulatedProvider, count: int) -> None:
    provider.reply(chunks=["first", "second"], cut_after_chunks=count)

    got = seen(provider, spelled(provider, stream=True))

    met = [text in got.body for text in (b"first", b"second")]
    assert met == [count > 0, count > 1]
    assert not got.body.endswith(b"0\r\n\r\n")


def test_what_is_no_stream_is_cut_half_way_after_any_chunk(provider: SimulatedProvider) -> None:
    provider.reply(text="x" * 300, cut_after_chunks=1)

    got = seen(provider, spelled(provider))

    length = int(got.head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert len(got.body) == length // 2


def test_half_closed_is_an_end_on_which_the_simulator_still_listens(
    openai: SimulatedProvider,
) -> None:
    openai.reply(cut="half", cut_after_bytes=5)

    with connected(openai) as wire:
        wire.sendall(spelled(openai))
        got = until_end(wire)
        wire.sendall(b"still there")  # no reset comes back

        assert (len(got.body), got.ending) == (5, "fin")


def test_a_reset_waits_until_everything_before_it_has_arrived(provider: SimulatedProvider) -> None:
    provider.reply(text="x" * 3_000_000, cut_after_bytes=2_000_000, cut="rst")

    with connected(provider, receives_bytes=4096) as wire:
        wire.sendall(spelled(provider))
        provider.wait_for_calls(1, PATIENCE_S)
        got = until_end(wire)

    assert (len(got.body), got.ending) == (2_000_000, "rst")


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_journal_tells_a_cut_from_one_after_the_last_byte(
    openai: SimulatedProvider, *, is_stream: bool
) -> None:
    for size in (10, 1_000_000):
        openai.reply(cut_after_bytes=size, times=1)
        seen(openai, spelled(openai, stream=is_stream))

    assert [call.flaw for call in openai.journal()] == ["cut", "cut_at_end"]


def test_the_client_of_the_suite_tells_the_ends_apart(provider: SimulatedProvider) -> None:
    for cut in ("fin", "rst"):
        provider.reply(cut_after_bytes=9, cut=cut, times=1)

    assert [ask(provider).error for _ in range(3)] == ["closed", "reset", None]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_stream_is_split_at_any_byte_and_stays_the_same(
    provider: SimulatedProvider, size: int
) -> None:
    provider.reply(text="grüße 🎉 end", split_bytes=size)

    chunks = seen(provider, spelled(provider, stream=True), b"GET / HTTP/1.0\r\n\r\n").chunks

    assert max(map(len, chunks)) <= size
    assert "grüße 🎉 end".encode() in b"".join(chunks)


def test_an_answer_is_split_at_any_byte_and_stays_the_same(provider: SimulatedProvider) -> None:
    provider.reply(text="grüße 🎉 end", split_bytes=1)

    answer = ask(provider)

    assert (answer.is_complete, "grüße 🎉 end" in answer.text) == (True, True)


def test_the_connection_outlives_every_whole_answer(provider: SimulatedProvider) -> None:
    provider.reply(split_bytes=9, times=1)

    got = seen(
        provider, spelled(provider, stream=True), spelled(provider), b"GET / HTTP/1.0\r\n\r\n"
    )

    assert got.data.count(b"HTTP/1.1 200 OK") == 2
    assert got.ending == "fin"


def test_a_caller_who_resets_disturbs_nobody(provider: SimulatedProvider) -> None:
    with connected(provider) as wire:
        wire.sendall(spelled(provider)[:40])
        reset(wire)

    assert ask(provider).status == 200
