"""The breaker as a table: which event moves which state where, and nothing else.

    closed    -- tripped ----------> open
    open      -- wait_ended -------> half_open
    half_open -- probe_failed -----> open        (a longer wait)
    half_open -- probes_succeeded -> closed

An *epoch* names one stay: a closed one, or an open one with its probes. Epochs are random
and only compared for equality; whatever belongs to another epoch changes nothing.
A cool-down lies across the table: the credential rests, its health is not in question.
Pure: no clock, no I/O; times are seconds of the reader's monotonic clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol


class CircuitState(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Forced(StrEnum):
    """What an operator said; it wins over every timer and every outcome."""

    NO = ""
    OPEN = "open"
    CLOSED = "closed"


class CircuitEvent(StrEnum):
    """What can move a breaker."""

    TRIPPED = "tripped"
    WAIT_ENDED = "wait_ended"
    PROBE_FAILED = "probe_failed"
    PROBES_SUCCEEDED = "probes_succeeded"


class CallOutcome(StrEnum):
    """How a call ended, for the breaker and for its metric."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"
    REJECTED = "rejected"
    COOL_DOWN = "cool_down"


TRANSITIONS: Mapping[tuple[CircuitState, CircuitEvent], CircuitState] = MappingProxyType(
    {
        (CircuitState.CLOSED, CircuitEvent.TRIPPED): CircuitState.OPEN,
        (CircuitState.OPEN, CircuitEvent.WAIT_ENDED): CircuitState.HALF_OPEN,
        (CircuitState.HALF_OPEN, CircuitEvent.PROBE_FAILED): CircuitState.OPEN,
        (CircuitState.HALF_OPEN, CircuitEvent.PROBES_SUCCEEDED): CircuitState.CLOSED,
    }
)


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """The numbers of every breaker; the defaults are the documented ones."""

    window_s: float = 30.0
    min_failures: int = 5
    failure_ratio: float = 0.5
    open_s: float = 30.0
    open_max_s: float = 300.0
    probes: int = 3
    successes: int = 3
    lease_s: float = 31.0  # the attempt's time-out (30 s) and one second for its report
    follow_every_s: float = 0.25  # a quarter of the second in which every worker must know
    jitter: float = 0.1  # so that workers and breakers do not all probe at one instant


@dataclass(frozen=True, slots=True)
class CircuitRecord:
    """What all workers share about one breaker.

    `openings` counts openings since the breaker was last closed, `leases` holds the end
    of every probe in flight by its id.
    """

    state: CircuitState
    epoch: str
    since: float = 0.0
    open_until: float = 0.0
    reason: str = ""
    forced: Forced = Forced.NO
    openings: int = 0
    successes: int = 0
    cool_until: float = 0.0
    leases: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fate:
    """What chance decides about a transition, drawn by the caller: `spread` is in [-1, 1]."""

    epoch: str
    spread: float = 0.0


def phase(record: CircuitRecord, now: float) -> CircuitState:
    """Where the breaker stands at `now`: the operator's word first, then the timer."""
    if record.forced:
        return CircuitState(record.forced.value)
    if record.state is CircuitState.OPEN and record.open_until <= now:
        return TRANSITIONS[record.state, CircuitEvent.WAIT_ENDED]
    return record.state


def wait_s(record: CircuitRecord, now: float, config: BreakerConfig) -> float:
    """How long nobody may try, in seconds; 0 when somebody may, be it as a probe only.

    Nobody knows when an operator opens the door again; `open_s` is as good a guess as any.
    """
    if record.forced:
        return config.open_s if record.forced is Forced.OPEN else 0.0
    ends = record.open_until if record.state is CircuitState.OPEN else 0.0
    return max(ends - now, record.cool_until - now, 0.0)


def is_tripped(attempts: int, failures: int, config: BreakerConfig) -> bool:
    """Whether a window is bad enough: enough failures, and a large enough share of attempts."""
    return failures >= config.min_failures and failures >= attempts * config.failure_ratio


def open_duration_s(openings: int, spread: float, config: BreakerConfig) -> float:
    """How long the n-th opening in a row lasts: doubled up to `open_max_s`, ± jitter."""
    doublings = min(openings - 1, 30)  # 2**30 times anything is beyond every ceiling
    grown_s: float = min(config.open_s * 2.0**doublings, config.open_max_s)
    return grown_s * (1.0 + config.jitter * spread)


def opened(
    record: CircuitRecord, now: float, reason: str, fate: Fate, *, config: BreakerConfig
) -> CircuitRecord:
    """The record after it opens at `now`: a new epoch, no leases, a wait that has grown."""
    openings = record.openings + 1
    return CircuitRecord(
        state=CircuitState.OPEN,
        epoch=fate.epoch,
        since=now,
        open_until=now + open_duration_s(openings, fate.spread, config),
        reason=reason,
        openings=openings,
        cool_until=record.cool_until,
    )


def closed(record: CircuitRecord, now: float, fate: Fate) -> CircuitRecord:
    """The record after it closes: a new epoch that remembers only the cool-down."""
    return CircuitRecord(CircuitState.CLOSED, fate.epoch, since=now, cool_until=record.cool_until)


def tripped(
    record: CircuitRecord, now: float, reason: str, fate: Fate, *, config: BreakerConfig
) -> CircuitRecord:
    """The record after its window tripped: open, if it was closed and nobody forced it."""
    return _fallen(record, CircuitEvent.TRIPPED, now, reason, fate, config=config)


def probe_failed(
    record: CircuitRecord, now: float, reason: str, fate: Fate, *, config: BreakerConfig
) -> CircuitRecord:
    """The record after a probe failed: open for longer, if it was half open."""
    return _fallen(record, CircuitEvent.PROBE_FAILED, now, reason, fate, config=config)


def _fallen(
    record: CircuitRecord,
    event: CircuitEvent,
    now: float,
    reason: str,
    fate: Fate,
    *,
    config: BreakerConfig,
) -> CircuitRecord:
    if record.forced or (phase(record, now), event) not in TRANSITIONS:
        return record
    return opened(record, now, reason, fate, config=config)


def leased(
    record: CircuitRecord, now: float, lease_id: str, lease_s: float, *, config: BreakerConfig
) -> CircuitRecord:
    """The record with a probe's lease in it, if there is room; otherwise the record as it is.

    Nobody gets a lease while an expired one stands there: that one is a failure first.
    """
    if record.forced or phase(record, now) is not CircuitState.HALF_OPEN:
        return record
    if len(record.leases) >= config.probes or has_expired_lease(record, now):
        return record
    leases = {**record.leases, lease_id: now + lease_s}
    return replace(record, state=CircuitState.HALF_OPEN, leases=leases)


def finished(
    record: CircuitRecord,
    now: float,
    lease_id: str,
    *,
    succeeded: bool,
    fate: Fate,
    config: BreakerConfig,
) -> CircuitRecord:
    """The record after a probe ended well or neutrally: its slot is free again.

    Enough successes close the breaker; a neutral end never does. A lease that is unknown
    or expired changes nothing.
    """
    if record.leases.get(lease_id, now) <= now:
        return record
    leases = {key: end for key, end in record.leases.items() if key != lease_id}
    successes = record.successes + succeeded
    event = (record.state, CircuitEvent.PROBES_SUCCEEDED)
    if successes >= config.successes and event in TRANSITIONS:
        return closed(record, now, fate)
    return replace(record, leases=leases, successes=successes)


def has_expired_lease(record: CircuitRecord, now: float) -> bool:
    """Whether a probe was left alone for longer than its lease."""
    return any(end <= now for end in record.leases.values())


def cooled(record: CircuitRecord, until: float) -> CircuitRecord:
    """The record resting at least until `until`; its health is what it was."""
    return replace(record, cool_until=max(record.cool_until, until))


def forced(now: float, by: Forced, reason: str, epoch: str) -> CircuitRecord:
    """A record as an operator wants it; `Forced.NO` gives it back to timers, closed and clean."""
    state = CircuitState(by.value) if by else CircuitState.CLOSED
    return CircuitRecord(state, epoch, since=now, reason=reason, forced=by)


class Fall(Protocol):
    """A transition that opens a breaker: `tripped` or `probe_failed`."""

    def __call__(
        self, record: CircuitRecord, now: float, reason: str, fate: Fate, *, config: BreakerConfig
    ) -> CircuitRecord:
        """Give the record after it: the same one if the table knows no such transition."""


class Merge(StrEnum):
    """What a worker does about a shared record that it has just read."""

    KEEP = "keep"
    ADOPT = "adopt"
    PUBLISH = "publish"


def merge(local: CircuitRecord, base: str, shared: CircuitRecord | None, now: float) -> Merge:
    """Decide between what this worker knows and what is shared.

    `base` is the epoch on which both last agreed; a local epoch that differs from it is a
    transition that nobody has been told of. An emptied store is rebuilt from local state;
    an operator's word wins; two openings are one; otherwise the newer transition wins.
    """
    if shared is None:
        return Merge.PUBLISH if _is_worth_telling(local, now) else Merge.KEEP
    if local.epoch in {shared.epoch, base}:
        return Merge.ADOPT
    if shared.epoch == base:
        return Merge.PUBLISH
    if shared.forced or local.forced:
        return Merge.ADOPT if shared.forced else Merge.PUBLISH
    is_same_kind = (local.state is CircuitState.CLOSED) == (shared.state is CircuitState.CLOSED)
    return Merge.ADOPT if is_same_kind or shared.since >= local.since else Merge.PUBLISH


def _is_worth_telling(record: CircuitRecord, now: float) -> bool:
    is_plain = record.state is CircuitState.CLOSED and not record.forced
    return not is_plain or record.cool_until > now
