"""Lets a request out, or not: the pin, the hosts, the stop file, the lease, the budget.

Called before each request and told of each answer. One gate per process; all gates of a run
share a purse, so that the budget is one and a reason to end reaches everybody.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from verification.harness.stack.model import StackError
from verification.harness.staging.budget import Spent

if TYPE_CHECKING:
    from pathlib import Path

    from verification.harness.answer import Answer
    from verification.harness.staging.purse import Purse

CHAT: Final = "/api/chat"
# What `Http.raw` sends: anything, so a chat is reserved for it.
RAW: Final = "RAW"
TOTAL_TOKENS: Final = re.compile(rb'"total_tokens"\s*:\s*(\d{1,9})')


class RunEndedError(StackError):
    """The run has to end (budget, stop file, lease), so nothing more is known: unknown."""


class ForeignHostError(StackError):
    """Something asked for a host that the target file does not name; nothing was sent."""


class ForeignTargetError(AssertionError):
    """What answers at the URL is not the service that the file names."""


class Gate:
    """The door to a target elsewhere. Safe to use from several threads."""

    def __init__(
        self,
        purse: Purse,
        *,
        hosts: frozenset[str],
        stop_file: Path,
        tokens_per_chat: int,
        foreign: str = "",
        portion: int = 1,
    ) -> None:
        """Stand before one target.

        Takes: `foreign` says what answers instead of our target, empty when it is ours;
        `portion`, the requests that are drawn from the purse at once (a load generator: 50).
        """
        self._purse = purse
        self._hosts = hosts
        self._stop_file = stop_file
        self._tokens_per_chat = tokens_per_chat
        self._foreign = foreign
        self._portion = portion
        self._lock = threading.Lock()
        self._requests = self._chats = 0

    def __call__(self, method: str, url: str) -> None:
        """Count one request.

        Raises: ForeignHostError; ForeignTargetError for anything but GET to a target without
        the pin; RunEndedError when the run has to end.
        """
        parts = urlsplit(url)
        if (parts.hostname or "") not in self._hosts:
            raise ForeignHostError(f"{parts.hostname} is not among limits.hosts: nothing was sent")
        if self._foreign and method != "GET":
            raise ForeignTargetError(f"{method} was not sent: {self._foreign}")
        if self._stop_file.exists():
            self._purse.end(f"the stop file {self._stop_file.name} is there")
        is_chat = method == RAW or (method == "POST" and parts.path == CHAT)
        with self._lock:
            self._count(is_chat=is_chat)

    def heard(self, answer: Answer) -> None:
        """Correct what a chat's tokens were thought to be; what nobody said stays as it was."""
        if answer.request.method != "POST" or urlsplit(answer.request.url).path != CHAT:
            return
        found = TOTAL_TOKENS.findall(answer.body)
        if found:
            self.used(int(found[-1]))
        elif answer.never_sent or 400 <= answer.status < 500:  # noqa: PLR2004  refused
            self.used(0)

    def used(self, tokens: int) -> None:
        """Say what one counted chat used in truth."""
        difference = tokens - self._tokens_per_chat
        if difference:
            self._purse.correct(Spent(tokens=difference))

    def close(self) -> None:
        """Give back what was drawn and not used."""
        with self._lock:
            tokens = self._chats * self._tokens_per_chat
            left = Spent(requests=-self._requests, chats=-self._chats, tokens=-tokens)
            self._requests = self._chats = 0
        if left != Spent():
            self._purse.correct(left)

    def _count(self, *, is_chat: bool) -> None:
        """Take one from what was drawn, or draw a portion; the last requests come singly."""
        if self._portion > 1 and (reason := self._purse.ended):
            raise RunEndedError(reason)
        if not self._requests or (is_chat and not self._chats):
            portions = sorted({self._portion, 1}, reverse=True)
            if not any(self._draw(portion, is_chat=is_chat) for portion in portions):
                raise RunEndedError(self._purse.ended)
        self._requests -= 1
        self._chats -= is_chat

    def _draw(self, portion: int, *, is_chat: bool) -> bool:
        chats = portion if is_chat else 0
        wanted = Spent(requests=portion, chats=chats, tokens=chats * self._tokens_per_chat)
        is_had = self._purse.draw(wanted, is_last=portion == 1)
        if is_had:
            self._requests += portion
            self._chats += chats
        return is_had
