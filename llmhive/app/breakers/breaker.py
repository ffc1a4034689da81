"""One breaker as one worker sees it: its record, its own window, what it has not told yet.

Synchronous and without I/O: every method either changes this object or answers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from llmhive.app.breakers import model
from llmhive.app.breakers.model import BreakerConfig, CircuitRecord, CircuitState, Forced
from llmhive.app.breakers.window import OutcomeWindow

# Ends of probes that could not be reported. A worker has at most a few probes in flight;
# more than this many are of epochs that are long over.
UNSETTLED_MAX = 32


@dataclass(frozen=True, slots=True)
class Hold:
    """What a permit holds of one breaker: the epoch it belongs to, and a probe's lease or none."""

    breaker: Breaker
    epoch: str
    lease_id: str = ""

    @property
    def is_late(self) -> bool:
        """Whether the breaker has moved on since, so that this changes nothing any more."""
        return self.epoch != self.breaker.record.epoch


@dataclass(frozen=True, slots=True)
class UnsettledProbe:
    """The end of a probe that the shared state has not been told of."""

    epoch: str
    lease_id: str
    succeeded: bool


@dataclass(frozen=True, slots=True)
class BreakerView:
    """One breaker as health and operators read it; `age_s` is the age of the shared reading."""

    name: str
    state: CircuitState
    reason: str
    forced: Forced
    wait_s: float
    cool_down_s: float
    probes: int
    in_state_s: float
    age_s: float


class Breaker:
    """A record that others may share, and the window of this worker's own outcomes."""

    __slots__ = (
        "base", "config", "confirmed_at", "hold", "is_clear", "name", "record", "shown",
        "unsettled", "window",
    )  # fmt: skip

    def __init__(self, name: str, epoch: str, now: float, config: BreakerConfig) -> None:
        self.name = name
        self.config = config
        self.window = OutcomeWindow(config.window_s)
        self.base = epoch
        self.confirmed_at = now
        self.shown = CircuitState.CLOSED
        self.unsettled: deque[UnsettledProbe] = deque(maxlen=UNSETTLED_MAX)
        self.hold = Hold(self, epoch)
        self.is_clear = True
        self.record = CircuitRecord(CircuitState.CLOSED, epoch, since=now)

    def move(self, record: CircuitRecord) -> None:
        """Take `record` as what is known; another epoch starts with an empty window."""
        self.record = record
        if self.hold.is_late:
            self.window.clear()
            self.hold = Hold(self, record.epoch)
        is_closed = record.state is CircuitState.CLOSED
        self.is_clear = is_closed and (bool(record.forced) or not record.cool_until)

    def wait_s(self, now: float) -> float:
        """Seconds for which nobody may try; a cool-down that is over is forgotten here."""
        if self.record.cool_until and self.record.cool_until <= now:
            self.move(replace(self.record, cool_until=0.0))
        return model.wait_s(self.record, now, self.config)

    def adopt(self, shared: CircuitRecord, now: float) -> None:
        """Take the shared record as true; a longer cool-down of this epoch stays."""
        cool_until = shared.cool_until
        if shared.epoch == self.record.epoch:
            cool_until = max(cool_until, self.record.cool_until)
        self.base = shared.epoch
        self.move(replace(shared, cool_until=cool_until if cool_until > now else 0.0))

    def keep_own_leases(self, prefix: str) -> None:
        """Forget other workers' probes, whose ends this worker can no longer see."""
        own = {key: end for key, end in self.record.leases.items() if key.startswith(prefix)}
        self.move(replace(self.record, leases=own))

    def view(self, now: float, *, is_shared: bool) -> BreakerView:
        """How the breaker stands at `now`."""
        return BreakerView(
            name=self.name,
            state=model.phase(self.record, now),
            reason=self.record.reason,
            forced=self.record.forced,
            wait_s=model.wait_s(self.record, now, self.config),
            cool_down_s=max(self.record.cool_until - now, 0.0),
            probes=len(self.record.leases),
            in_state_s=max(now - self.record.since, 0.0),
            age_s=now - self.confirmed_at if is_shared else 0.0,
        )
