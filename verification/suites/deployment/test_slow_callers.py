"""Who is slow on purpose, or has gone without a word, holds nothing for longer than its bound."""

from __future__ import annotations

import threading
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from verification.contract import http, promises
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.waiting import eventually, let_pass, meanwhile, now_s, together_over
from verification.verdict import UnknownVerdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verification.harness.chat_result import ChatResult
    from verification.harness.target import Target

# Thirty times the bounds, and less than they are by default.
ENDED_WITHIN_S = 30.0
# Nothing else ends what these claims let hang.
PATIENT = dict.fromkeys(("S4_LLM_TIMEOUT", "S4_STREAM_IDLE_TIMEOUT", "S4_MAX_WALL_CLOCK"), "120")
BODY_S = 1.0
SOON = {**PATIENT, "BODY_DEADLINE_S": f"{BODY_S:g}", "UNREAD_DEADLINE_S": "1"}
# More than the kernel keeps for a connection.
PIECES, PIECE = 800, "x" * 16_000
# Never silent for as long as the bound, and many times the bound in all; fewer than are announced.
DROP_EVERY_S, DROPS = 0.2, 50
ERRORS = "llmhive_errors_total"
NEED_A_BODY = (http.CHAT.path, http.WEBHOOKS.path)


def half_a_request(path: str, key: str) -> bytes:
    """A request whose body stops in the middle."""
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {key}\r\n"
    return f'{head}Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{{"half'.encode()


@claim(
    "deployment.slow-callers.body",
    proves=[promises.SLOW_CALLERS],
    needs=[can.USERS, can.RESTART],
    env=SOON,
)
def test_a_body_that_does_not_come_is_not_waited_for(target: Target) -> None:
    key = target.new_user().key

    said = together_over(
        NEED_A_BODY,
        lambda path: target.http.raw(half_a_request(path, key), timeout_s=ENDED_WITHIN_S),
    )

    assert [each.partition(b"\r\n")[0] for each in said] == [b"HTTP/1.1 408 Request Timeout"] * 2
    assert [b'"code":"body_late"' in each for each in said] == [True] * 2
    # What comes after half a body cannot be told from its other half.
    assert [b"connection: close" in each.lower() for each in said] == [True] * 2


@claim(
    "deployment.slow-callers.drops",
    proves=[promises.SLOW_CALLERS],
    needs=[can.USERS, can.METRICS, can.RESTART],
    env=SOON,
)
def test_a_body_that_comes_in_drops_is_not_waited_for_any_longer(target: Target) -> None:
    key = target.new_user().key

    def late() -> float:
        return target.metrics().sum(ERRORS, code="body_late")

    waited_for: list[str] = []
    wanted, sent_s = late() + len(NEED_A_BODY), {path: [now_s()] for path in NEED_A_BODY}

    def dripping(path: str) -> Iterator[bytes]:
        yield half_a_request(path, key)
        for _ in range(DROPS):
            sent_s[path].append(now_s())
            if late() >= wanted:
                return
            let_pass(DROP_EVERY_S, because="the rest of the body comes in drops")
            yield b" "
        waited_for.append(path)

    together_over(
        NEED_A_BODY, lambda path: target.http.raw(dripping(path), timeout_s=ENDED_WITHIN_S)
    )

    counted = target.settled_metrics().sum(ERRORS, code="body_late")
    paused_s = max(later - earlier for each in sent_s.values() for earlier, later in pairwise(each))
    if paused_s >= BODY_S:
        raise UnknownVerdict(f"the caller paused for {paused_s:.2f} s, which is no drop after drop")
    assert (waited_for, counted) == ([], wanted)


@claim(
    "deployment.slow-callers.unread",
    proves=[promises.SLOW_CALLERS],
    needs=[can.USERS, can.SCRIPT, can.RESTART],
    env=SOON,
)
def test_an_answer_that_nobody_reads_is_not_held_for_long(target: Target) -> None:
    user, provider = target.new_user(), target.provider(target.providers[0])
    provider.reply(chunks=[PIECE] * PIECES, hold="never", hold_after_chunks=PIECES)
    is_over = threading.Event()

    def stop_reading(_body: bytes) -> bool:
        return is_over.wait(2 * ENDED_WITHIN_S)

    read = partial(target.chat, user, "hello", stream=True, leave_when=stop_reading)
    got: list[ChatResult] = []
    with meanwhile(lambda: got.append(read())):
        try:
            eventually(
                provider.journal,
                until=lambda calls: any(each.hung_up_s is not None for each in calls),
                within_s=ENDED_WITHIN_S,
                claim="the provider's stream ends although the caller stays and reads nothing",
            )
        finally:
            is_over.set()

    assert [each.is_whole for each in got] == [False]
