"""Exactly once: what deliveries were acknowledged, against what the ledger shows.

Claimed: each event's effect happens exactly once, whatever was delivered how often, at the
same time or again later.

Decided per event and per read of the ledger. A read can show an effect at most once; it must
show it when a delivery was acknowledged (2xx) before the read began; it must not show it when
no delivery can have been taken. A second event of the same invoice and kind adds no row, so
its effect may stand under the other event's name. Rows never go away.

Could be fooled by deliveries outside the history, and by a ledger of another user.

Operations: f "deliver", value: `event`, `user`, `status`, `kind` (the event's type), `invoice`
(or None); outcome ok: acknowledged, fail: certainly not taken, info: anything else. f "ledger",
value: `user`, `entries` (rows with `event`, `invoice`, `kind`); outcome ok when it was read.
Source: DESIGN 3.6; chaos and load reference D.6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from verification.history import History, Operation, Outcome
from verification.verdict import Verdict, judged, unknown

DELIVER: Final = "deliver"
LEDGER: Final = "ledger"


@dataclass(frozen=True, slots=True)
class _Breach:
    text: str
    witness: tuple[Operation, ...]


class AppliedExactlyOnce:
    """The effect of each of these events (of all delivered ones, when none is named) happens once.

    An event whose delivery names its `user` must stand in that user's ledger and in no other.
    """

    def __init__(self, *event_ids: str) -> None:
        self.event_ids = event_ids

    @property
    def claim(self) -> str:
        """The claim in words."""
        named = ", ".join(self.event_ids) or "each delivered event"
        return f"{named} is applied exactly once"

    def __call__(self, history: History) -> Verdict:
        """The verdict; unknown when nothing was acknowledged before a read of the ledger."""
        return judged(self.claim, self._judge, history)

    def _judge(self, history: History) -> Verdict:
        deliveries = history.of(DELIVER)
        reads = [one for one in history.of(LEDGER) if one.outcome is Outcome.OK]
        events = self.event_ids or tuple(
            dict.fromkeys(str(one.value["event"]) for one in deliveries)
        )
        counts = {"deliveries": len(deliveries), "reads": len(reads), "events": len(events)}
        breaches = [
            *_doubled(reads),
            *_vanished(reads),
            *(breach for event in events for breach in self._wrong(event, deliveries, reads)),
        ]
        if breaches:
            first, worst = breaches[0], max(breaches, key=lambda one: len(one.witness))
            return Verdict(False, self.claim, counts, first.text, worst.text, first.witness)
        silent = [event for event in events if not _is_settled(event, deliveries, reads)]
        if silent or not events:
            why = "no delivery was acknowledged before a read of the ledger"
            return unknown(self.claim, f"{why}: {', '.join(silent[:3])}", **counts)
        return Verdict(True, self.claim, counts)

    def _wrong(
        self, event: str, deliveries: Sequence[Operation], reads: Sequence[Operation]
    ) -> Iterator[_Breach]:
        own = [one for one in deliveries if one.value.get("event") == event]
        owners = {str(one.value["user"]) for one in own if one.value.get("user") is not None}
        is_alone = len({read.value.get("user") for read in reads}) <= 1
        for read in reads:
            rows = [row for row in _rows(read) if row.get("event") == event]
            is_taken = any(
                one.outcome is not Outcome.FAIL and one.started_s <= read.finished_s for one in own
            )
            is_theirs = str(read.value.get("user")) in owners if owners else is_alone
            if len(rows) > 1:
                text = f"{event} stands {len(rows)} times in the ledger, expected once"
                yield _Breach(text, (*own, read))
            elif rows and not is_taken:
                text = f"{event} stands in the ledger, though no delivery of it can have been taken"
                yield _Breach(text, (*own, read))
            elif rows and owners and not is_theirs:
                text = f"{event} stands in the ledger of {read.value.get('user')}, who is another"
                yield _Breach(text, (*own, read))
            elif not rows and is_theirs:
                yield from self._missing(event, own, deliveries, read)

    def _missing(
        self,
        event: str,
        own: Sequence[Operation],
        deliveries: Sequence[Operation],
        read: Operation,
    ) -> Iterator[_Breach]:
        acknowledged = [
            one for one in own if one.outcome is Outcome.OK and one.finished_s < read.started_s
        ]
        if acknowledged and not _stands_for(event, acknowledged[0], deliveries, read):
            text = f"{event} was acknowledged before the ledger was read, and is not in it"
            yield _Breach(text, (acknowledged[0], read))


def _rows(read: Operation) -> Sequence[Mapping[str, Any]]:
    entries = read.value.get("entries", ())
    return [row for row in entries if isinstance(row, Mapping)]


def _stands_for(
    event: str, acknowledged: Operation, deliveries: Sequence[Operation], read: Operation
) -> bool:
    """Whether another event of the same invoice and kind may hold the row of this one."""
    invoice = acknowledged.value.get("invoice")
    if invoice is None:
        return False
    kind = acknowledged.value.get("kind")
    twins = {
        one.value.get("event")
        for one in deliveries
        if one.value.get("invoice") == invoice and one.value.get("kind") == kind
    } - {event}
    return any(row.get("event") in twins and row.get("invoice") == invoice for row in _rows(read))


def _doubled(reads: Sequence[Operation]) -> Iterator[_Breach]:
    """Two rows of one invoice and kind, whatever the events."""
    for read in reads:
        pairs = Counter(
            (str(row["invoice"]), str(row.get("kind"))) for row in _rows(read) if row.get("invoice")
        )
        for (invoice, kind), count in pairs.items():
            if count > 1:
                text = f"{invoice} stands {count} times as {kind} in the ledger, expected once"
                yield _Breach(text, (read,))


def _vanished(reads: Sequence[Operation]) -> Iterator[_Breach]:
    """A row that an earlier read of the same user's ledger showed and a later one does not."""
    seen: dict[str, list[Operation]] = {}
    for read in reads:
        user = str(read.value.get("user"))
        now = {str(row.get("event")) for row in _rows(read)}
        for earlier in seen.get(user, []):
            if earlier.finished_s >= read.started_s:
                continue
            gone = {str(row.get("event")) for row in _rows(earlier)} - now
            if gone:
                text = f"{min(gone)} was in the ledger and is no longer; rows never go away"
                yield _Breach(text, (earlier, read))
        seen.setdefault(user, []).append(read)


def _is_settled(event: str, deliveries: Sequence[Operation], reads: Sequence[Operation]) -> bool:
    """Whether an acknowledged delivery ended before a read began, so that the read could tell."""
    ends = [
        one.finished_s
        for one in deliveries
        if one.value.get("event") == event and one.outcome is Outcome.OK
    ]
    return bool(ends) and any(read.started_s > min(ends) for read in reads)
