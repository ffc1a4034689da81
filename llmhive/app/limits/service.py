"""Admission by the shared windows, or by this worker alone while those are away.

A request is admitted with one trip to the shared windows, settled once however it ends, and
never held up by a store that is away: then the worker's shadow decides at its share, and
what it admitted is counted where all workers count before their next decision.
Imports the model, the ports and this feature's own memory.
Source: DESIGN.md, section 3.2.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import NamedTuple, TypeVar

from llmhive.app.clock import Clock
from llmhive.app.errors import CallerError, CapacityError
from llmhive.app.limits.model import (
    Admission,
    Decision,
    Demand,
    LimitConfig,
    Settlement,
    admission,
    bucket_number,
)
from llmhive.app.limits.ports import LimitObserver, WindowStore, WindowStoreError
from llmhive.app.limits.shadow import Shadow

# Settlements that could not be delivered: at 1 kB each a few MB, and leases end by themselves.
UNDELIVERED_MAX = 5000
# Users merged or renewed with one write: a pipeline that Redis answers in a few ms.
AT_ONCE = 100
# Idle users looked at in every round of the background, on top of two per new user.
LOOKS_PER_ROUND = 500

Item = TypeVar("Item")


class _Seat(NamedTuple):
    """What is in flight: where it was reserved, in the shared windows or in the shadow."""

    demand: Demand
    decision: Decision
    number: int
    is_local: bool


class LimitService:
    """Who may make a request now; one per worker, on one event loop."""

    def __init__(
        self,
        config: LimitConfig,
        *,
        clock: Clock,
        store: WindowStore | None = None,
        observer: LimitObserver | None = None,
        overridden: Callable[[str], int | None] | None = None,
    ) -> None:
        """Takes: `overridden`, the requests per window that an operator granted a user, or None."""
        self._config = config
        self._clock = clock
        self._store = store
        self._observer = observer
        self._overridden = overridden or (lambda _user: None)
        self._shadow = Shadow(config)
        self._shares = {tier: tier.share(config.workers) for tier in config.tiers.values()}
        self._is_alone_degraded = store is not None or config.workers > 1
        self._seats: dict[str, _Seat] = {}
        self._undelivered: deque[Settlement] = deque(maxlen=UNDELIVERED_MAX)
        self._background: set[asyncio.Task[None]] = set()
        self._process = secrets.token_hex(6)
        self._operations = 0
        if store is not None:
            store.watch(self._returned)

    async def admit(self, user: str, tier: str, *, tokens: int) -> Admission:
        """Count a request, reserve its tokens and a place in flight: all of it, or nothing.

        Takes: tokens ≥ 0, the most that the request may use.
        Gives: an Admission; settle it once if `allowed`.
        Raises: CallerError 422 (definite) when no empty window could hold so many tokens,
        CapacityError 503 (definite) when this worker asks the store for too much at once.
        Stores: see the store; the worker's share is counted here always.
        """
        limits = self._config.tier(tier).granting(self._overridden(user))
        if tokens > limits.tokens:
            raise CallerError(
                f"The request may use {tokens} tokens; its tier has {limits.tokens} per window.",
                code="request_too_large",
                http_status=422,
            )
        self._operations += 1
        operation_id = f"{self._process}-{self._operations:x}"
        demand = Demand(user, operation_id, max(0, tokens), limits)
        if self._store is None:
            return self._admit_alone(demand, is_unsure=False)
        try:
            if self._shadow.has_unmerged(user):
                await asyncio.shield(self._spawn(self._merge(self._store, user)))
            decision = await self._store.admit(demand, partial(self._abandon, demand))
        except WindowStoreError as error:
            return self._admit_alone(demand, is_unsure=not error.definite)
        if decision.refused_by is None:
            number = self._shadow.follow(demand, self._now_ms())
            self._seats[operation_id] = _Seat(demand, decision, number, is_local=False)
        return self._told(demand, decision, is_local=False)

    async def settle(self, admission: Admission, *, tokens_used: int | None) -> None:
        """Charge what was used instead of what was reserved, and give the place back, once.

        Takes: tokens_used ≥ 0, or None to keep the reservation as it is.
        A second call does nothing. The store is told in the background, so that Redis holds
        up no answer; `flush` waits for it.
        """
        seat = self._seats.pop(admission.operation_id, None)
        if seat is None:
            return
        demand, now_ms = seat.demand, self._now_ms()
        surplus = 0 if tokens_used is None else max(0, tokens_used) - demand.tokens
        self._shadow.settle(
            demand.user, demand.operation_id, number=seat.number, surplus=surplus, now_ms=now_ms
        )
        if self._store is None:
            return
        if seat.is_local:
            self._shadow.correct(demand.user, demand.operation_id, surplus=surplus, now_ms=now_ms)
            surplus = 0
        self._spawn(self._deliver(self._store, _settlement(seat, surplus)))
        await _next_turn()

    async def renew_forever(self) -> None:
        """Prolong the leases of what is in flight, and deliver what could not be delivered."""
        while True:
            await self._clock.sleep(self._config.lease_s / 3)
            await self.renew()

    async def renew(self) -> None:
        """Do one round of what `renew_forever` repeats."""
        self._shadow.forget_old(self._now_ms(), LOOKS_PER_ROUND)
        if self._store is None:
            return
        by_user: dict[str, list[str]] = {}
        for operation_id, seat in self._seats.items():
            by_user.setdefault(seat.demand.user, []).append(operation_id)
        for some in _parts(list(by_user)):
            await _tried([self._prolong(self._store, user, by_user[user]) for user in some])
        await self._catch_up(self._store)

    async def flush(self) -> None:
        """Wait until every settlement under way has been delivered or kept for later."""
        while self._background:
            await asyncio.wait(self._background)

    # -- alone

    def _admit_alone(self, demand: Demand, *, is_unsure: bool) -> Admission:
        now_ms = self._now_ms()
        share = self._shares.get(demand.limits) or demand.limits.share(self._config.workers)
        demand = demand._replace(limits=share)
        decision = self._shadow.admit(demand, now_ms)
        if decision.refused_by is None:
            if self._store is not None:
                self._shadow.keep(demand, now_ms, is_unsure=is_unsure)
            number = bucket_number(now_ms, self._config.window_ms)
            self._seats[demand.operation_id] = _Seat(demand, decision, number, is_local=True)
        elif is_unsure:
            # The shared windows may have given it a place in flight; nobody will sit there.
            self._undelivered.append(Settlement(demand.user, demand.operation_id, 0, 0, 0))
        return self._told(demand, decision, is_local=True)

    def _told(self, demand: Demand, decision: Decision, *, is_local: bool) -> Admission:
        told = admission(
            demand,
            decision,
            limits=demand.limits.granting(decision.requests_limit),
            window_s=self._config.window_s,
            degraded=is_local and self._is_alone_degraded,
        )
        if self._observer is not None:
            self._observer.decided(told, is_local=is_local)
        return told

    # -- what goes on in the background

    def _abandon(self, demand: Demand, decision: Decision) -> None:
        """Give back what was admitted for a caller who did not wait for it."""
        if decision.refused_by is None and self._store is not None:
            seat = _Seat(demand, decision, 0, is_local=False)
            self._spawn(self._deliver(self._store, _settlement(seat, -demand.tokens)))

    async def _deliver(self, store: WindowStore, settlement: Settlement) -> None:
        """Settle in the store; what was not heard of is kept, its tokens only if surely not."""
        try:
            # What ends here may be what the merge has to recognise by its lease.
            if self._shadow.has_unmerged(settlement.user):
                await self._merge(store, settlement.user)
            await store.settle(settlement)
        except WindowStoreError as error:
            kept = settlement if error.definite else settlement._replace(surplus=0)
            self._undelivered.append(kept)
        except CapacityError:
            self._undelivered.append(settlement)

    async def _prolong(self, store: WindowStore, user: str, operation_ids: list[str]) -> None:
        """Renew the leases of what has not ended by now: what is put back has to be running."""
        seats = [(each, self._seats[each]) for each in operation_ids if each in self._seats]
        given = [each for each, seat in seats if not seat.is_local]
        merged = [each for each, seat in seats if seat.is_local]
        if seats:
            await store.renew(user, given, merged)

    async def _merge(self, store: WindowStore, user: str) -> None:
        """Count what this worker admitted alone; what may have been counted is not again."""
        pasts = self._shadow.take(user, self._now_ms())
        live = [
            operation_id
            for operation_id in self._shadow.in_flight(user)
            if (seat := self._seats.get(operation_id)) and seat.is_local
        ]
        try:
            await store.merge(user, pasts, live)
        except WindowStoreError as error:
            if error.definite:
                self._shadow.put_back(user, pasts)
            raise
        except CapacityError:
            self._shadow.put_back(user, pasts)
            raise

    async def _catch_up(self, store: WindowStore) -> None:
        """Merge and settle what an outage left behind."""
        for some in _parts(self._shadow.unmerged):
            await _tried([self._merge(store, user) for user in some])
        late = [self._undelivered.popleft() for _ in range(len(self._undelivered))]
        for settlements in _parts(late):
            await _tried([self._deliver(store, each) for each in settlements])

    def _returned(self) -> None:
        if self._store is not None:
            self._spawn(self._catch_up(self._store))

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Let `work` go on whatever becomes of its caller; the loop keeps only weak references."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        error = None if task.cancelled() else task.exception()
        if error and not isinstance(error, WindowStoreError | CapacityError):
            context = {"message": "A background task of the limits failed.", "exception": error}
            task.get_loop().call_exception_handler(context)

    def _now_ms(self) -> int:
        return int(self._clock.monotonic() * 1000)


async def _next_turn() -> None:
    """Let what was spawned begin, so that it is sent before whatever its caller does next."""
    loop = asyncio.get_running_loop()
    turn = loop.create_future()
    loop.call_soon(_resolve, turn)
    await turn


def _resolve(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


def _settlement(seat: _Seat, surplus: int) -> Settlement:
    demand, decision = seat.demand, seat.decision
    return Settlement(
        demand.user, demand.operation_id, surplus, decision.window_start_ms, decision.bucket
    )


def _parts(items: list[Item]) -> Iterator[list[Item]]:
    for first in range(0, len(items), AT_ONCE):
        yield items[first : first + AT_ONCE]


async def _tried(rounds: list[Coroutine[None, None, None]]) -> None:
    """Run all of them at once; a store that is away ends none but its own."""
    outcomes = await asyncio.gather(*rounds, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(
            outcome, WindowStoreError | CapacityError
        ):
            raise outcome
