"""What a simulator has to know of its vendor, and what every vendor's answers have in common."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Mapping
from typing import Any, Final, Protocol

from verification.simulators.answer import EVENT_STREAM, JSON, Answer, HeaderValue
from verification.simulators.http_request import Request
from verification.simulators.reply import MISSING, Reply


class RefusedError(Exception):
    """A call that the vendor refuses by itself, before any rule: its answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Question(Protocol):
    """A call that the vendor takes."""

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything in it that may contain what a rule looks for."""

    def answer(self, reply: Reply) -> Answer:
        """Answer as the vendor would, with what the reply says instead."""


class Peer(Protocol):
    """A vendor on the wire."""

    @property
    def name(self) -> str:
        """The vendor's name."""

    @property
    def known_fields(self) -> frozenset[str]:
        """The fields of a Reply that mean something here."""

    def key(self, request: Request) -> str | None:
        """The credential that the call carries."""

    def read(self, request: Request, key: str | None) -> Question:
        """Read a call. Raises RefusedError when the vendor would refuse it."""

    def put(self, told: object) -> None:
        """Keep objects. Raises ScriptError when there are none of that kind here."""

    def objects(self) -> Mapping[str, Any]:
        """The objects that are kept."""

    def forget_objects(self) -> None:
        """Keep no objects any longer."""


_numbers = itertools.count(1)
_RUN: Final = secrets.token_hex(6)


def fresh_id(prefix: str) -> str:
    """An id that no other call of any simulator has."""
    return f"{prefix}{_RUN}{next(_numbers):012x}"


def bearer(request: Request) -> str | None:
    """The key of an `Authorization: Bearer` header."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def compact(value: object) -> bytes:
    """JSON without spaces, as vendors send it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a pair of surrogates, which somebody escaped
        return json.dumps(value, separators=(",", ":")).encode()


def with_headers(
    usual: Mapping[str, HeaderValue], told: Mapping[str, HeaderValue] | None
) -> dict[str, HeaderValue]:
    """The usual headers with what a reply says instead."""
    if not told:
        return dict(usual)
    return {**usual, **{name.lower(): value for name, value in told.items()}}


def scripted(
    reply: Reply, headers: Mapping[str, HeaderValue], *, is_stream: bool = False
) -> Answer | None:
    """The answer of a reply that brings its own body, None when it does not."""
    status, raw = reply.status or 200, reply.raw_bytes
    if raw is None and reply.body is MISSING:
        return None
    streams = raw is not None and is_stream and status < 300  # noqa: PLR2004
    body = raw if raw is not None else compact(reply.body)
    usual = {"content-type": EVENT_STREAM if streams else JSON, **headers}
    return Answer(status, with_headers(usual, reply.headers), (body,), is_stream=streams)
