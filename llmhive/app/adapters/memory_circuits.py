"""Circuit records in this process's memory: for tests, and as the plainest reading of the port.

Imports the port and the model only.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmhive.app.breakers import model
from llmhive.app.breakers.model import BreakerConfig, CircuitRecord, Fate
from llmhive.app.breakers.ports import CircuitStoreError
from llmhive.app.clock import Clock


class MemoryCircuitStore:
    """A CircuitStore of one process; `is_away` makes it as unreachable as a dead Redis."""

    def __init__(self, clock: Clock, config: BreakerConfig) -> None:
        self._clock = clock
        self._config = config
        self.records: dict[str, CircuitRecord] = {}
        self.is_away = False

    async def look(self, names: Sequence[str]) -> list[CircuitRecord | None]:
        """Read the records of all `names`, in their order."""
        return [self._reach(name) for name in names]

    async def publish(
        self, name: str, record: CircuitRecord, *, expected: str
    ) -> CircuitRecord | None:
        """Replace the record if its epoch is `expected` or it is not there."""
        known = self._reach(name)
        if known and known.epoch != expected:
            return known
        is_forced = bool(record.forced or (known and known.forced))
        if known and not is_forced:
            record = model.cooled(record, known.cool_until)
        return self._keep(name, record)

    async def lease(
        self, name: str, epoch: str, lease_id: str, lease_s: float
    ) -> CircuitRecord | None:
        """Take a probe's slot of this epoch, if one is free."""
        known = self._reach(name)
        if known is None or known.epoch != epoch:
            return known
        now = self._clock.monotonic()
        return self._keep(name, model.leased(known, now, lease_id, lease_s, config=self._config))

    async def finish(
        self, name: str, epoch: str, lease_id: str, *, succeeded: bool, next_epoch: str
    ) -> CircuitRecord | None:
        """Give a probe's slot back and count its success; enough of them close the breaker."""
        known = self._reach(name)
        if known is None or known.epoch != epoch:
            return known
        now, fate = self._clock.monotonic(), Fate(next_epoch)
        record = model.finished(
            known, now, lease_id, succeeded=succeeded, fate=fate, config=self._config
        )
        return self._keep(name, record)

    async def cool_down(self, name: str, until: float) -> CircuitRecord | None:
        """Let the breaker rest at least until `until`."""
        known = self._reach(name)
        return known and self._keep(name, model.cooled(known, until))

    def _reach(self, name: str) -> CircuitRecord | None:
        if self.is_away:
            raise CircuitStoreError
        return self.records.get(name)

    def _keep(self, name: str, record: CircuitRecord) -> CircuitRecord:
        self.records[name] = record
        return record
