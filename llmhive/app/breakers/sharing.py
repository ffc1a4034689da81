"""The breakers of one worker, and the records of them that all workers share.

Transitions are made here first and told at once; replies are merged by `model.merge`,
and only if this worker has not moved on since it asked. Whatever cannot be told now is
told by the next round of `follow` that reaches the shared state.
May not import adapters. Source: DESIGN.md, section 3.3.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Sequence
from random import Random, SystemRandom
from typing import TypeVar

from llmhive.app.breakers import model
from llmhive.app.breakers.breaker import Breaker, Hold, UnsettledProbe
from llmhive.app.breakers.model import BreakerConfig, CircuitRecord, Fate, Merge
from llmhive.app.breakers.ports import BreakerObserver, CircuitStore, CircuitStoreError
from llmhive.app.clock import Clock

# Readings of one cool-down differ by a round trip; a real difference is larger.
COOL_DOWN_SLACK_S = 0.2

T = TypeVar("T")


class SharedBreakers:
    """Every breaker of this worker, kept in step with the other workers'."""

    def __init__(
        self,
        names: Sequence[str],
        config: BreakerConfig,
        *,
        clock: Clock,
        observer: BreakerObserver,
        store: CircuitStore | None,
    ) -> None:
        self.is_shared = False
        self._config = config
        self._clock = clock
        self._observer = observer
        self._store = store
        self._worker = secrets.token_hex(4)
        self._leases = 0
        self._chance: Random = SystemRandom()
        self._reports: set[asyncio.Task[object]] = set()
        now = clock.monotonic()
        self.by_name = {name: Breaker(name, self._fate().epoch, now, config) for name in names}

    # -- what the service asks for

    def fall(self, breaker: Breaker, transition: model.Fall, reason: str) -> None:
        """Open the breaker here by `transition`, if the table knows it, and tell the others."""
        now = self._clock.monotonic()
        fallen = transition(breaker.record, now, reason, self._fate(), config=self._config)
        if fallen is not breaker.record:
            self.move(breaker, fallen)

    def force(self, breaker: Breaker, by: model.Forced, reason: str, epoch: str | None) -> None:
        """Put an operator's word into effect here, and tell the others, unless that is done."""
        if (epoch, by) != (breaker.record.epoch, breaker.record.forced):
            named = epoch or self._fate().epoch
            self.move(breaker, model.forced(self._clock.monotonic(), by, reason, named))

    def move(self, breaker: Breaker, record: CircuitRecord) -> None:
        """Take a transition here, and tell the others."""
        breaker.move(record)
        self._show(breaker)
        if self.is_shared:
            self._publish(breaker, expected=breaker.base)

    def rest(self, breaker: Breaker, until: float) -> None:
        """Let the breaker's credential rest until `until`, here and elsewhere."""
        breaker.move(model.cooled(breaker.record, until))
        if self._store and self.is_shared:
            self._report(self._share_cool_down(self._store, breaker))

    def new_hold(self, breaker: Breaker) -> Hold:
        """Name a probe that has no slot yet."""
        self._leases += 1
        return Hold(breaker, breaker.record.epoch, f"{self._worker}-{self._leases}")

    async def lease(self, hold: Hold, lease_s: float) -> bool:
        """Try to take a probe's slot; a caller that is cancelled meanwhile gives it back."""
        if not (self._store and self.is_shared):
            return self._lease_here(hold, lease_s)
        asking = self._report(self._lease_shared(self._store, hold, lease_s))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(lambda done: self.drop(hold) if done.result() else None)
            raise

    def finish(self, hold: Hold, *, succeeded: bool) -> None:
        """End a probe well or neutrally; its slot is free again."""
        if self._store and self.is_shared:
            probe = UnsettledProbe(hold.epoch, hold.lease_id, succeeded)
            self._report(self._share_finish(self._store, hold.breaker, probe))
        else:
            self._finish_here(hold, succeeded=succeeded)

    def drop(self, hold: Hold) -> None:
        """Give back a slot that may have been taken, whatever has happened since."""
        if self._store:
            probe = UnsettledProbe(hold.epoch, hold.lease_id, succeeded=False)
            self._report(self._share_finish(self._store, hold.breaker, probe))

    # -- following

    async def follow(self) -> None:
        """Read the shared records once and make them this worker's; without them, mind the time."""
        if self._store:
            await self._read(self._store)
        now = self._clock.monotonic()
        for breaker in self.by_name.values():
            if not self.is_shared:
                self._expire_leases(breaker, breaker.record, now)
            breaker.wait_s(now)
            self._show(breaker)

    async def flush(self) -> None:
        """Wait until every report of this worker has been sent, or has failed."""
        while self._reports:
            await asyncio.gather(*self._reports)

    async def _read(self, store: CircuitStore) -> None:
        asked = [(breaker, breaker.record.epoch) for breaker in self.by_name.values()]
        try:
            records = await store.look(list(self.by_name))
        except CircuitStoreError:
            self._lose()
            return
        self.is_shared = True
        for (breaker, epoch), record in zip(asked, records, strict=True):
            self._receive(breaker, record, epoch)
            while breaker.unsettled:
                probe = breaker.unsettled.popleft()
                self._report(self._share_finish(store, breaker, probe))

    def _receive(self, breaker: Breaker, shared: CircuitRecord | None, asked_in: str) -> None:
        """Merge a reply, unless this worker has moved on since it asked."""
        if breaker.record.epoch != asked_in:
            return
        now = self._clock.monotonic()
        breaker.confirmed_at = now
        decision = model.merge(breaker.record, breaker.base, shared, now)
        if decision is Merge.PUBLISH:
            self._publish(breaker, expected=shared.epoch if shared else "")
        elif shared:
            self._share_longer_rest(breaker, shared)
            breaker.adopt(shared, now)
            self._expire_leases(breaker, shared, now)
        else:
            breaker.base = breaker.record.epoch
        self._show(breaker)

    def _share_longer_rest(self, breaker: Breaker, shared: CircuitRecord) -> None:
        is_longer = breaker.record.cool_until > shared.cool_until + COOL_DOWN_SLACK_S
        if self._store and is_longer and breaker.record.epoch == shared.epoch:
            self._report(self._share_cool_down(self._store, breaker))

    def _expire_leases(self, breaker: Breaker, fresh: CircuitRecord, now: float) -> None:
        """Count a probe that was left alone as failed; only a fresh record can tell."""
        if model.has_expired_lease(fresh, now):
            self.fall(breaker, model.probe_failed, "probe_expired")

    def _lose(self) -> None:
        if self.is_shared:
            self.is_shared = False
            for breaker in self.by_name.values():
                breaker.keep_own_leases(self._worker)

    def _show(self, breaker: Breaker) -> None:
        state = model.phase(breaker.record, self._clock.monotonic())
        if state is not breaker.shown:
            breaker.shown = state
            self._observer.transitioned(breaker.name, state, breaker.record.reason)
        self._observer.state_seen(breaker.name, state)

    # -- without the shared records

    def _lease_here(self, hold: Hold, lease_s: float) -> bool:
        breaker, now = hold.breaker, self._clock.monotonic()
        self._expire_leases(breaker, breaker.record, now)
        record = model.leased(breaker.record, now, hold.lease_id, lease_s, config=self._config)
        breaker.move(record)
        self._show(breaker)
        return hold.lease_id in record.leases

    def _finish_here(self, hold: Hold, *, succeeded: bool) -> None:
        breaker, now = hold.breaker, self._clock.monotonic()
        record = model.finished(
            breaker.record,
            now,
            hold.lease_id,
            succeeded=succeeded,
            fate=self._fate(),
            config=self._config,
        )
        breaker.move(record)
        self._show(breaker)

    # -- telling the others

    def _publish(self, breaker: Breaker, *, expected: str) -> None:
        if self._store:
            self._report(self._share_record(self._store, breaker, expected))

    async def _share_record(self, store: CircuitStore, breaker: Breaker, expected: str) -> None:
        record = breaker.record
        try:
            reply = await store.publish(breaker.name, record, expected=expected)
        except CircuitStoreError:
            self._lose()
            return
        if reply and reply.epoch == record.epoch:
            breaker.base = record.epoch
        else:
            self._receive(breaker, reply, record.epoch)

    async def _share_finish(
        self, store: CircuitStore, breaker: Breaker, probe: UnsettledProbe
    ) -> None:
        try:
            reply = await store.finish(
                breaker.name,
                probe.epoch,
                probe.lease_id,
                succeeded=probe.succeeded,
                next_epoch=self._fate().epoch,
            )
        except CircuitStoreError:
            self._lose()
            breaker.unsettled.append(probe)
            if probe.epoch == breaker.record.epoch:
                hold = Hold(breaker, probe.epoch, probe.lease_id)
                self._finish_here(hold, succeeded=probe.succeeded)
        else:
            self._receive(breaker, reply, probe.epoch)

    async def _share_cool_down(self, store: CircuitStore, breaker: Breaker) -> None:
        epoch = breaker.record.epoch
        try:
            reply = await store.cool_down(breaker.name, breaker.record.cool_until)
        except CircuitStoreError:
            self._lose()
        else:
            self._receive(breaker, reply, epoch)

    async def _lease_shared(self, store: CircuitStore, hold: Hold, lease_s: float) -> bool:
        breaker = hold.breaker
        try:
            reply = await store.lease(breaker.name, hold.epoch, hold.lease_id, lease_s)
            if reply is None:  # emptied: put back what is known, then ask again
                await store.publish(breaker.name, breaker.record, expected=hold.epoch)
                reply = await store.lease(breaker.name, hold.epoch, hold.lease_id, lease_s)
        except CircuitStoreError:
            self._lose()
            breaker.unsettled.append(UnsettledProbe(hold.epoch, hold.lease_id, succeeded=False))
            return False
        self._receive(breaker, reply, hold.epoch)
        return reply is not None and hold.lease_id in reply.leases

    # -- small parts

    def _report(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)
        return task

    def _fate(self) -> Fate:
        return Fate(secrets.token_hex(8), self._chance.uniform(-1.0, 1.0))
