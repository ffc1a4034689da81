"""What goes over the wire for one answer, step by step. Nothing here touches a wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from verification.simulators.answer import Answer
from verification.simulators.reply import MISSING, Cut, Reply


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait for a gate."""

    gate: str


@dataclass(frozen=True, slots=True)
class SendHead:
    """Send the status line and the headers."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send bytes of the body, at once and apart from others."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class CutOff:
    """End the connection here. Nothing comes after it."""

    how: Cut


Step = Wait | Hold | SendHead | Send | CutOff


def plan(answer: Answer, reply: Reply) -> Iterator[Step]:
    """The steps of an answer; it is whole unless the last one is a CutOff."""
    if reply.delay_s:
        yield Wait(reply.delay_s)
    if reply.gate and reply.hold_after_chunks is None:
        yield Hold(reply.gate)
    if not reply.is_cut or reply.is_cut_later:
        yield SendHead()
        if reply.first_chunk_delay_s:
            yield Wait(reply.first_chunk_delay_s)
        yield from _until(_body(answer, reply), _room(answer, reply))
    if reply.is_cut:
        yield CutOff(reply.cut or "fin")


def flaw(answer: Answer, reply: Reply) -> str | None:
    """What keeps the answer from being whole and the vendor's own, None when nothing does.

    A reader may or may not take it for whole when it is cut after its last byte ("cut_at_end"),
    and a body of the script's own ("raw", "body") for anything.
    """
    if reply.is_cut:
        return "cut_at_end" if _has_everything(answer, reply) else "cut"
    spoilt = {
        "raw": reply.raw is not None,
        "body": reply.body is not MISSING,
        "error_event": reply.error_event is not None,
        "omit_terminal": answer.is_stream and reply.omit_terminal,
        "finish_reason": reply.finish_reason is None,
    }
    return next((name for name, is_so in spoilt.items() if is_so), None)


def _has_everything(answer: Answer, reply: Reply) -> bool:
    room = _room(answer, reply)
    if room is not None:
        return room >= sum(map(len, answer.pieces))
    return reply.is_cut_later and (reply.cut_after_chunks or 0) >= len(answer.pieces)


def _body(answer: Answer, reply: Reply) -> Iterator[Step]:
    pieces = answer.pieces
    held_after = reply.hold_after_chunks
    held_at = None if held_after is None else min(held_after, len(pieces))
    cut_at = reply.cut_after_chunks if answer.is_stream else None
    has_begun = False
    for number, piece in enumerate((*pieces, b"")):
        if number == held_at and reply.gate:
            yield Hold(reply.gate)
        if number == cut_at:
            return
        for part in _parts(piece, reply.split_bytes):
            if has_begun and reply.chunk_delay_s:
                yield Wait(reply.chunk_delay_s)
            has_begun = True
            yield Send(part)


def _room(answer: Answer, reply: Reply) -> int | None:
    """After how many bytes of the body to cut, None for never.

    What is no stream has no chunks: it is cut half way, so that the cut is felt.
    """
    if reply.cut_after_chunks is not None and not answer.is_stream:
        return sum(map(len, answer.pieces)) // 2 if reply.cut_after_chunks else 0
    return reply.cut_after_bytes


def _until(steps: Iterator[Step], room: int | None) -> Iterator[Step]:
    """The steps up to so many bytes of the body."""
    for step in steps:
        if room == 0:
            return
        if room is not None and isinstance(step, Send):
            yield Send(step.payload[:room])
            room = max(0, room - len(step.payload))
        else:
            yield step


def _parts(piece: bytes, size: int | None) -> Iterator[bytes]:
    step = size or len(piece) or 1
    return (piece[at : at + step] for at in range(0, len(piece), step))
