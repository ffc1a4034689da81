"""When an answer comes: delays, gates, hanging, and what the journal says of callers who leave."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from verification.harness.waiting import now_s
from verification.selftest.simulators.callers import (
    ask,
    asking,
    connected,
    over,
    reset,
    spelled,
    until_end,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from verification.harness.simulated import SimulatedProvider

WITHIN_S = 10.0


def test_the_journal_tells_the_times_of_a_call(provider: SimulatedProvider) -> None:
    before_s = now_s()
    answer = ask(provider)

    call = over(provider)

    assert call.first_byte_s is not None
    assert call.ended_s is not None
    assert call.arrived_s <= call.first_byte_s <= call.ended_s
    # Bytes are noted once they are written: the caller may have them before.
    assert before_s <= call.arrived_s <= answer.done_s


def test_the_journal_tells_what_was_sent_and_answered(provider: SimulatedProvider) -> None:
    answer = ask(provider, "what was said")

    call = over(provider)

    assert (call.method, call.status, call.hung_up_s) == ("POST", 200, None)
    assert call.body["messages"][0]["content"] == "what was said"
    assert call.bytes_out > len(answer.body)


def test_an_answer_comes_no_sooner_than_its_delay(provider: SimulatedProvider) -> None:
    provider.reply(delay_s=0.05)
    ask(provider)

    call = over(provider)

    assert call.first_byte_s is not None
    assert call.first_byte_s - call.arrived_s >= 0.05


def test_chunks_come_no_sooner_than_their_delay(provider: SimulatedProvider) -> None:
    provider.reply(chunks=["a", "b", "c"], chunk_delay_s=0.04)
    ask(provider, stream=True)

    call = over(provider)

    assert call.first_byte_s is not None
    assert call.ended_s is not None
    assert call.ended_s - call.first_byte_s >= 3 * 0.04


def test_the_head_comes_before_the_first_chunk_does(provider: SimulatedProvider) -> None:
    provider.reply(first_chunk_delay_s=60)

    with connected(provider) as wire:
        wire.sendall(spelled(provider, stream=True))
        head = wire.recv(65536)

    assert (b"200 OK" in head, head.endswith(b"\r\n\r\n")) == (True, True)


def test_what_is_split_drips(provider: SimulatedProvider) -> None:
    provider.reply(raw="abcd", split_bytes=1, chunk_delay_s=0.02)

    answer = ask(provider, stream=True)

    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(answer.chunks)]
    assert (answer.body, len(answer.chunks) > 1) == (b"abcd", True)
    assert sum(gaps) >= 0.02


def test_a_held_call_waits_until_its_gate_opens(provider: SimulatedProvider) -> None:
    provider.reply(hold="gate", text="at last")

    with asking(provider) as answers:
        held = provider.wait_for_held(1, WITHIN_S, "gate")
        released = provider.release("gate")

    assert (len(held), released, held[0].status) == (1, 1, None)
    assert "at last" in answers[0].text
    assert provider.journal()[0].held is None


def test_an_open_gate_lets_later_calls_pass(provider: SimulatedProvider) -> None:
    provider.reply(hold="gate")
    provider.release("gate")

    assert ask(provider).status == 200


def test_a_stream_may_be_held_between_chunks(provider: SimulatedProvider) -> None:
    provider.reply(chunks=["before ", "after"], hold="gate", hold_after_chunks=1)

    with connected(provider) as wire:
        wire.sendall(spelled(provider, stream=True))
        provider.wait_for_held(1, WITHIN_S, "gate")
        first = wire.recv(65536)
        provider.release("gate")
        wire.sendall(b"GET / HTTP/1.0\r\n\r\n")
        rest = until_end(wire).data

    assert (b"before" in first, b"after" in first) == (True, False)
    assert b"after" in rest


def test_a_call_hangs_until_released(provider: SimulatedProvider) -> None:
    provider.reply(hang=True, status=503)

    with asking(provider) as answers:
        provider.wait_for_held(1, WITHIN_S)
        provider.release()

    assert answers[0].status == 503


def test_clearing_sends_away_who_hangs(provider: SimulatedProvider) -> None:
    provider.reply(hang=True)

    with asking(provider) as answers:
        provider.wait_for_held(1, WITHIN_S)
        provider.clear()

    assert answers[0].error == "reset"
    assert ask(provider).status == 200


LEAVING = {"closes": lambda wire: wire.close(), "resets": reset}


@pytest.mark.parametrize("leave", LEAVING.values(), ids=list(LEAVING))
def test_a_caller_who_leaves_a_hanging_call_is_noted(
    provider: SimulatedProvider, leave: Callable[[socket.socket], None]
) -> None:
    provider.reply(hang=True)
    with connected(provider) as wire:
        wire.sendall(spelled(provider))
        provider.wait_for_held(1, WITHIN_S)
        left_s = now_s()

        leave(wire)

    call = over(provider)
    assert call.hung_up_s is not None
    assert call.hung_up_s >= left_s
    assert (call.status, call.bytes_out, call.first_byte_s) == (None, 0, None)


@pytest.mark.parametrize("leave", LEAVING.values(), ids=list(LEAVING))
def test_a_caller_who_leaves_a_stream_ends_it(
    provider: SimulatedProvider, leave: Callable[[socket.socket], None]
) -> None:
    provider.reply(chunks=["x"] * 1000, chunk_delay_s=0.05)
    with connected(provider) as wire:
        wire.sendall(spelled(provider, stream=True))
        wire.recv(65536)

        leave(wire)

    call = over(provider)
    assert (call.status, call.hung_up_s) == (200, call.ended_s)
    assert 0 < call.bytes_out < 100_000


def test_a_caller_who_leaves_during_a_delay_is_noted(provider: SimulatedProvider) -> None:
    provider.reply(delay_s=60)
    with connected(provider) as wire:
        wire.sendall(spelled(provider))
        provider.wait_for_calls(1, WITHIN_S)

    assert over(provider).hung_up_s is not None


def test_a_caller_who_got_everything_has_not_hung_up(provider: SimulatedProvider) -> None:
    provider.reply(split_bytes=50)
    ask(provider)

    assert over(provider).hung_up_s is None


def test_a_cut_is_not_taken_for_a_caller_who_left(provider: SimulatedProvider) -> None:
    provider.reply(cut="rst", cut_after_bytes=3)
    ask(provider)

    call = over(provider)

    assert (call.hung_up_s, call.flaw) == (None, "cut")
