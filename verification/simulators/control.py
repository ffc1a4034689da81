"""The control endpoint: what a claim tells a simulator, and reads from it.

Whatever it does not understand is a 400 that says what was expected; nothing is ignored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl

from verification.simulators.answer import JSON, Answer
from verification.simulators.gates import Gates
from verification.simulators.http_request import Request
from verification.simulators.journal import Journal
from verification.simulators.peer import Peer, compact
from verification.simulators.reply import ScriptError
from verification.simulators.rules import Rules

PREFIX: Final = "/_control/"
JOURNAL_QUERY: Final = frozenset({"contains", "since"})


class Control:
    """Answers `/_control/…`; these calls are in no journal."""

    def __init__(self, peer: Peer, rules: Rules, journal: Journal, gates: Gates) -> None:
        self._peer = peer
        self._rules = rules
        self._journal = journal
        self._gates = gates
        self.troubles: list[str] = []
        """What went wrong inside the simulator, which is nobody else's doing."""
        self._routes: dict[tuple[str, str], Callable[[Request], Any]] = {
            ("GET", "identity"): self._identity,
            ("POST", "rules"): self._append_rules,
            ("DELETE", "rules"): lambda _: self._rules.forget(),
            ("DELETE", "all"): lambda _: self._forget(),
            ("GET", "journal"): self._calls,
            ("POST", "gates"): self._open_gate,
            ("GET", "objects"): lambda _: self._peer.objects(),
            ("PUT", "objects"): lambda request: self._peer.put(_json(request)),
        }

    def answer(self, request: Request) -> Answer:
        """Do what is asked and answer 200 with an object, or say what was expected."""
        name = request.path.removeprefix(PREFIX)
        do = self._routes.get((request.method, name))
        if do is None:
            routes = ", ".join(sorted(f"{method} {PREFIX}{one}" for method, one in self._routes))
            text = f"unknown: {request.method} {request.path}; expected one of {routes}"
            return _answer(404, {"error": text})
        try:
            return _answer(200, do(request) or {})
        except ScriptError as error:
            return _answer(400, {"error": str(error)})

    def _identity(self, _: Request) -> dict[str, Any]:
        return {"name": self._peer.name, "pid": os.getpid(), "troubles": self.troubles}

    def _forget(self) -> None:
        """Rules first, so that nobody comes to a gate by one that is to go."""
        self._rules.forget()
        self._gates.forget()
        self._journal.forget()
        self._peer.forget_objects()

    def _append_rules(self, request: Request) -> dict[str, Any]:
        told = _object(_json(request), frozenset({"rules"}))
        return {"rules": self._rules.append(told.get("rules"))}

    def _calls(self, request: Request) -> dict[str, Any]:
        query = dict(parse_qsl(request.target.partition("?")[2], keep_blank_values=True))
        asked = _object(query, JOURNAL_QUERY)
        since = asked.get("since", "0")
        if not (since.isascii() and since.isdigit()):
            raise ScriptError(f"since: expected the index of a call, got {since!r}")
        found = self._journal.since(int(since), asked.get("contains", ""))
        return {
            "calls": [entry.shown() for entry in found],
            "dropped": self._journal.dropped,
            "troubles": self.troubles,
        }

    def _open_gate(self, request: Request) -> dict[str, Any]:
        name = _object(_json(request), frozenset({"open"})).get("open")
        if not isinstance(name, str) or not name:
            raise ScriptError(f"open: expected the name of a gate, got {name!r}")
        return {"released": self._gates.open(name)}


def _json(request: Request) -> Any:
    try:
        return json.loads(request.body)
    except ValueError as error:
        raise ScriptError(f"expected JSON: {error}") from error


def _object(told: object, known: frozenset[str]) -> dict[str, Any]:
    if not isinstance(told, dict):
        raise ScriptError(f"expected an object, got {told!r}")
    for name in told:
        if name not in known:
            raise ScriptError(f"unknown field {name!r}, expected {', '.join(sorted(known))}")
    return told


def _answer(status: int, value: object) -> Answer:
    return Answer(status, {"content-type": JSON}, (compact(value),))
