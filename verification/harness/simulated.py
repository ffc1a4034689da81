"""The simulators as claims script and read them, over their control endpoint.

Imports waiting and http_client only; knows no simulator's code, only its control wire:
/_control/rules, /_control/journal, /_control/gates, /_control/objects, /_control/identity.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from verification.harness.http_client import Http
from verification.harness.waiting import eventually

if TYPE_CHECKING:
    from verification.harness.stripe_objects import Invoice, Subscription


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
    held: str | None = None
    """The gate at which it waits now."""
    flaw: str | None = None
    """What kept the answer from being whole and the vendor's own: cut, cut_at_end (after its
    last byte), raw, body, error_event, omit_terminal, finish_reason; None when nothing did."""

    @property
    def text(self) -> str:
        """The request's body as one searchable text."""
        return self.body if isinstance(self.body, str) else repr(self.body)


HANG: Final = "hang"
"""The gate at which a reply that hangs waits."""

_CALL_FIELDS = {one.name for one in fields(Call)}


# What a scripted reply may hold without being trouble to the service.
HARMLESS = frozenset(
    {
        "text",
        "chunks",
        "usage",
        "finish_reason",
        "first_chunk_delay_s",
        "chunk_delay_s",
        "split_bytes",
    }
)


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
        """Forget all rules, calls, gates and objects; who still waits at a gate is reset."""
        self._do("DELETE", "/_control/all")

    def clear_rules(self) -> None:
        """Forget all rules, keep the calls: the provider is healthy again."""
        self._do("DELETE", "/_control/rules")

    def journal(self, contains: str | None = None, *, since: int = 0) -> list[Call]:
        """The calls so far, in the order of arrival, those whose target or body holds `contains`.

        Takes: `since`, the least index.
        Raises: SimulatorError when the journal is not all of it: it overflowed, or the
        simulator itself went wrong.
        """
        query = {"since": str(since), **({"contains": contains} if contains else {})}
        found = self._do("GET", f"/_control/journal?{urlencode(query)}")
        if found["dropped"] or found["troubles"]:
            trouble = "".join(found["troubles"][:1])
            raise SimulatorError(f"{self.name}: {found['dropped']} calls dropped {trouble}".strip())
        return [_call(entry) for entry in found["calls"]]

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

    def release(self, gate: str = HANG) -> int:
        """Open a gate for who waits and who comes; gives how many waited."""
        return int(self._do("POST", "/_control/gates", {"open": gate})["released"])

    def wait_for_held(self, n: int, within_s: float, gate: str = HANG) -> list[Call]:
        """The calls that wait at a gate, once there are at least `n`.

        Raises: AssertionError when there are not within `within_s`.
        """
        return eventually(
            lambda: [call for call in self.journal() if call.held == gate],
            until=lambda calls: len(calls) >= n,
            within_s=within_s,
            claim=f"{self.name} holds {n} calls at {gate!r}",
        )

    def _do(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = self._http.request(method, path, json=body)
        found = answer.json()
        if answer.status != 200 or not isinstance(found, dict):  # noqa: PLR2004
            told = found.get("error") if isinstance(found, dict) else None
            raise SimulatorError(f"{self.name}: {told or answer}")
        return found


def _call(entry: dict[str, Any]) -> Call:
    return Call(**{name: value for name, value in entry.items() if name in _CALL_FIELDS})


class SimulatedProvider(Simulator):
    """A simulated chat provider: `openai` or `anthropic`."""

    def reply(
        self,
        *,
        times: int | None = None,
        contains: str | None = None,
        key: str | None = None,
        **reply: Any,
    ) -> None:
        """Answer the next `times` calls (None: all) that match with `reply`.

        Takes: `contains`, a text in the body; `key`, the credential. Then what the answer is:
        status, headers (null removes one), body (JSON) or raw (text, or {"base64": …}), text or
        chunks, finish_reason, usage, omit_terminal, error_event. When: delay_s,
        first_chunk_delay_s (after the head), chunk_delay_s, split_bytes (parts of so many bytes,
        chunk_delay_s apart), hang, hold (a gate, see `release`) and hold_after_chunks. How it
        ends too early: cut ("fin", "rst" or "half") at once, or cut_after_bytes of the body, or
        cut_after_chunks.
        """
        self.rules({"match": _match(contains, key), "times": times, "reply": reply})

    def fail(
        self, status: int = 500, *, times: int | None = None, contains: str | None = None
    ) -> None:
        """Answer with the vendor's error of that status."""
        self.reply(times=times, contains=contains, status=status)


def _match(contains: str | None, key: str | None) -> dict[str, str]:
    told = {"contains": contains, "key": key}
    return {name: value for name, value in told.items() if value is not None}


class SimulatedStripe(Simulator):
    """The simulated Stripe API: the objects that the service fetches."""

    def put(
        self,
        *,
        subscription: Subscription | dict[str, Any] | None = None,
        invoice: Invoice | dict[str, Any] | None = None,
    ) -> None:
        """From now on Stripe answers with this object under its own id.

        In the shape of the API version that is asked for, whatever shape it has here.
        """
        for kind, one in (("subscriptions", subscription), ("invoices", invoice)):
            if one is not None:
                told = one if isinstance(one, dict) else one.rendered()
                self._do("PUT", "/_control/objects", {kind: {told["id"]: told}})

    def remove(self, *, subscription: str | None = None, invoice: str | None = None) -> None:
        """From now on Stripe knows no object of that id."""
        for kind, one in (("subscriptions", subscription), ("invoices", invoice)):
            if one is not None:
                self._do("PUT", "/_control/objects", {kind: {one: None}})

    def reply(self, *, times: int | None = None, contains: str | None = None, **reply: Any) -> None:
        """Answer the next `times` fetches (None: all) whose address holds `contains` with `reply`.

        Takes: the fields of a provider's reply, without those of chat.
        """
        self.rules({"match": _match(contains, None), "times": times, "reply": reply})

    def fail(
        self, status: int = 500, *, times: int | None = None, contains: str | None = None
    ) -> None:
        """Answer with Stripe's error of that status."""
        self.reply(times=times, contains=contains, status=status)
