"""The simulators as claims script and read them, over their control endpoint.

Imports waiting and http_client only; knows no simulator's code, only its control wire:
/_control/rules, /_control/journal, /_control/objects, /_control/identity.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from verification.harness.http_client import Http
from verification.harness.waiting import eventually


class SimulatorError(Exception):
    """A simulator did not do what it was told: the harness's trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request that reached a simulator. All `*_s` are monotonic seconds of this machine."""

    index: int
    method: str
    path: str
    key: str | None = None
    headers: dict[str, str]
    body: Any
    arrived_s: float
    first_byte_s: float | None = None
    bytes_out: int = 0
    ended_s: float | None = None
    hung_up_s: float | None = None
    status: int | None = None
    rule: int | None = None

    @property
    def text(self) -> str:
        """The request's body as one searchable text."""
        return self.body if isinstance(self.body, str) else repr(self.body)


_CALL_FIELDS = {one.name for one in fields(Call)}


# What a scripted reply may hold without being trouble to the service.
HARMLESS = frozenset({"text", "chunks", "usage", "finish_reason", "chunk_delay_s", "split_bytes"})


class Simulator:
    """One simulator, as this stack's service sees it."""

    def __init__(self, name: str, control_url: str, *, key: str) -> None:
        self.name = name
        self.control_url = control_url
        self.key = key
        """The credential that this stack's service sends; the canary."""
        self.was_disturbing = False
        """It was told to do something that breakers and retry budgets remember."""
        self._http = Http(control_url)

    def rules(self, *rules: dict[str, Any]) -> None:
        """Append rules; the first live one that matches a call answers it."""
        self.was_disturbing |= any(set(rule.get("reply", {})) - HARMLESS for rule in rules)
        self._do("POST", "/_control/rules", {"rules": list(rules)})

    def clear(self) -> None:
        """Forget all rules and all calls."""
        self._do("DELETE", "/_control/rules")
        self._do("DELETE", "/_control/journal")

    def clear_rules(self) -> None:
        """Forget all rules, keep the calls: the provider is healthy again."""
        self._do("DELETE", "/_control/rules")

    def journal(self, contains: str | None = None) -> list[Call]:
        """The calls so far, in the order of arrival, those whose body holds `contains`."""
        calls = [_call(entry) for entry in self._do("GET", "/_control/journal")["calls"]]
        return [call for call in calls if contains is None or contains in call.text]

    def wait_for_calls(self, n: int, within_s: float, contains: str | None = None) -> list[Call]:
        """The journal once it holds at least `n` calls.

        Raises: AssertionError when it does not within `within_s`.
        """
        return eventually(
            lambda: self.journal(contains),
            until=lambda calls: len(calls) >= n,
            within_s=within_s,
            claim=f"{self.name} receives {n} calls",
        )

    def _do(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = self._http.request(method, path, json=body)
        found = answer.json()
        if answer.status != 200 or not isinstance(found, dict):  # noqa: PLR2004
            raise SimulatorError(f"{self.name}: {answer}")
        return found


def _call(entry: dict[str, Any]) -> Call:
    return Call(**{name: value for name, value in entry.items() if name in _CALL_FIELDS})


class SimulatedProvider(Simulator):
    """A simulated chat provider: `openai` or `anthropic`."""

    def reply(self, *, times: int | None = None, contains: str | None = None, **reply: Any) -> None:
        """Answer the next `times` calls (None: all) whose body holds `contains` with `reply`.

        Takes: the fields of a Reply: status, headers, body, text, chunks, delay_s,
        chunk_delay_s, split_bytes, cut_after_bytes, cut, cut_after_chunks, hang,
        finish_reason, usage, omit_terminal, error_event, raw.
        """
        match = {} if contains is None else {"contains": contains}
        self.rules({"match": match, "times": times, "reply": reply})

    def fail(
        self, status: int = 500, *, times: int | None = None, contains: str | None = None
    ) -> None:
        """Answer with an HTTP error of that status."""
        body = {"error": {"type": "server_error", "message": "scripted failure"}}
        self.reply(times=times, contains=contains, status=status, body=body)


class SimulatedStripe(Simulator):
    """The simulated Stripe API: the objects that the service fetches."""

    def put(
        self,
        *,
        subscription: dict[str, Any] | None = None,
        invoice: dict[str, Any] | None = None,
    ) -> None:
        """From now on Stripe answers with this object under its own id."""
        put = {"subscriptions": subscription, "invoices": invoice}
        objects = {kind: {one["id"]: one} for kind, one in put.items() if one is not None}
        self._do("PUT", "/_control/objects", objects)

    def reply(self, *, times: int | None = None, contains: str | None = None, **reply: Any) -> None:
        """Answer the next `times` fetches (None: all) with `reply`."""
        match = {} if contains is None else {"contains": contains}
        self.rules({"match": match, "times": times, "reply": reply})
