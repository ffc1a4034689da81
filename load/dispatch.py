"""One generator process: lets each request of its share go at its time, and writes what came of it.

The schedule is kept whatever the service does: a late answer delays no other request. When all
callers wait for answers the request is dropped, and counted. The generator writes about itself,
too: its pulse, both clocks, its processor time, and a control ping; the gate judges by that
whether it was well. Files are synced outside the loop, which a slow disk would hold up.
Loaded by generators only; knows nothing of Locust.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import gevent
from gevent.event import Event
from gevent.queue import Queue

from load.plan import LEAD_S, Budget, Plan
from load.samples import Beat, Begin, End, Outcome, Ping, Recorder, Sample
from load.schedule import Arrival, arrivals, share
from load.wire import Answer

BEAT_EVERY_S: Final = 0.25
SYNC_EVERY_BEATS: Final = 4
PING_EVERY_S: Final = 0.1
# Both clocks are read between two looks at one of them; further apart, they are read again.
CLOCKS_WITHIN_S: Final = 0.01
CLOCKS_TRIES: Final = 5

Send = Callable[[Arrival], Answer]
Told = Callable[[Sample, Answer | None], object]
Ship = Callable[[list[str]], object]


def _nothing(*_: object) -> None:
    """Nobody wants to know."""


@dataclass(slots=True)
class Spent:
    """What a generator has spent of its budget."""

    budget: Budget
    requests: int = 0
    ended: int = 0
    failed: int = 0
    tokens: int = 0

    def reason_to_stop(self) -> str | None:
        """Why no further request may go out; None while all is well."""
        budget = self.budget
        if budget.requests is not None and self.requests >= budget.requests:
            return f"the budget of {budget.requests} requests is spent"
        if budget.tokens is not None and self.tokens >= budget.tokens:
            return f"the budget of {budget.tokens} tokens is spent"
        is_judged = self.ended >= max(1, budget.after_requests)
        if is_judged and self.failed >= budget.error_share * self.ended:
            return f"{self.failed} of {self.ended} requests failed"
        return None


@dataclass(slots=True)
class Hooks:
    """What a generator does with its requests, and whom it tells.

    `send` exchanges one request; `told` hears of each sample; `ship` gets the lines that were
    written, for a master on another host; `ping` does one control ping and waits for its echo.
    """

    send: Send
    ping: Callable[[], object]
    told: Told = _nothing
    ship: Ship = _nothing


@dataclass(slots=True)
class InFlight:
    """A request on its way."""

    arrival: Arrival
    sent_s: float


@dataclass(slots=True)
class Dispatcher:
    """Sends share `number` of `of` of a plan's schedule. Callers come by `serve_next`."""

    plan: Plan
    number: int
    of: int
    recorder: Recorder
    hooks: Hooks
    machine: str = ""
    over: Event = field(default_factory=Event)
    """Set when every request has ended and every line is written."""
    stopped: str | None = None
    stopped_s: float = 0.0
    _spent: Spent = field(init=False)
    _t0_s: float = 0.0
    _idle: int = 0
    _queue: Queue[Arrival] = field(default_factory=Queue)
    _in_flight: dict[int, InFlight] = field(default_factory=dict)
    _settled: Event = field(default_factory=Event)
    _stop: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self._spent = Spent(self.plan.budget.shared(self.of))

    def start(self) -> None:
        """Begin: the first request may be due in two seconds."""
        self._t0_s = time.monotonic() + LEAD_S
        self.recorder.add(
            Begin(
                number=self.number,
                of=self.of,
                plan=self.plan.digest,
                started=time.time() + LEAD_S,
                machine=self.machine,
            )
        )
        for loop in (self._dispatch, self._beat, self._ping):
            gevent.spawn(loop)

    def stop(self, reason: str) -> None:
        """Let no further request go; what is on its way may end."""
        if not self._stop.is_set():
            self.stopped, self.stopped_s = reason, self._now_s()
            self._stop.set()

    def serve_next(self) -> None:
        """Wait, as one caller, for a request that is due, send it, and write what came of it."""
        self._idle += 1
        arrival = self._queue.get()
        self._idle -= 1
        sent_s = self._now_s()
        self._in_flight[arrival.index] = InFlight(arrival, sent_s)
        answer = self.hooks.send(arrival)
        if self._in_flight.pop(arrival.index, None) is not None:
            self._write(self._sample(arrival, sent_s, answer), answer)
        if not self._in_flight and self._queue.empty():
            self._settled.set()

    def _now_s(self) -> float:
        return time.monotonic() - self._t0_s

    def _dispatch(self) -> None:
        for arrival in self._mine():
            self._settled.clear()
            if self._idle > self._queue.qsize():
                self._spent.requests += 1
                self._queue.put(arrival)
            else:
                self._write(_unsent(arrival), None)
        if self._in_flight or not self._queue.empty():
            self._settled.wait(self.plan.drain_s)
        self._end()

    def _mine(self) -> Iterator[Arrival]:
        """The requests of this share, each at its time, until they are over or stopped."""
        for arrival in share(arrivals(self.plan.traffic), self.number, self.of):
            while (wait_s := arrival.at_s - self._now_s()) > 0 and not self._stop.is_set():
                self._stop.wait(wait_s)
            if reason := self._spent.reason_to_stop():
                self.stop(reason)
            if self._stop.is_set():
                return
            yield arrival

    def _sample(self, arrival: Arrival, sent_s: float, answer: Answer) -> Sample:
        def since_start(moment_s: float | None) -> float | None:
            return None if moment_s is None else moment_s - self._t0_s

        return Sample(
            index=arrival.index,
            kind=arrival.kind,
            intended_s=arrival.at_s,
            outcome=Outcome.FAILED if answer.error else Outcome.OK,
            sent_s=sent_s,
            first_s=since_start(answer.first_s),
            done_s=since_start(answer.done_s),
            status=answer.status,
            error=answer.error,
            request_id=answer.request_id,
            served_by=answer.served_by,
            tokens=answer.tokens,
        )

    def _write(self, sample: Sample, answer: Answer | None) -> None:
        self._spent.ended += 1
        self._spent.failed += sample.outcome is not Outcome.OK
        self._spent.tokens += sample.tokens
        self.recorder.add(sample)
        self.hooks.told(sample, answer)

    def _end(self) -> None:
        for flight in list(self._in_flight.values()):
            self._write(_unfinished(flight), None)
        self._in_flight.clear()
        self.recorder.add(
            End(
                at_s=self._now_s(),
                requests=self.recorder.requests,
                stopped=self.stopped,
                stopped_s=self.stopped_s,
            )
        )
        self._sync()
        self.over.set()

    def _sync(self) -> None:
        lines = self.recorder.take()
        gevent.get_hub().threadpool.apply(self.recorder.append, (lines,))
        self.hooks.ship(lines)

    def _beat(self) -> None:
        due_s, number = self._now_s(), 0
        while not self.over.is_set():
            due_s += BEAT_EVERY_S
            self.over.wait(max(0.0, due_s - self._now_s()))
            at_s, wall_s = both_clocks()
            at_s -= self._t0_s
            late_s = max(0.0, at_s - due_s)
            beat = Beat(at_s=at_s, wall_s=wall_s, cpu_s=time.process_time(), late_s=late_s)
            due_s = max(due_s, at_s)  # a late beat is one, not a row of late ones
            number += 1
            if not self.over.is_set():
                self.recorder.add(beat)
                self._look_around(number)

    def _look_around(self, number: int) -> None:
        stop_file = self.plan.stop_file
        if stop_file and Path(stop_file).exists():
            self.stop(Path(stop_file).read_text("utf-8").strip() or "the stop file is there")
        if number % SYNC_EVERY_BEATS == 0:
            self._sync()

    def _ping(self) -> None:
        due_s = self._now_s()
        while not self.over.is_set():
            due_s += PING_EVERY_S
            self.over.wait(max(0.0, due_s - self._now_s()))
            try:
                self.hooks.ping()
            except OSError:
                return  # the gate misses the pings that do not come
            self.recorder.add(Ping(at_s=due_s, took_s=self._now_s() - due_s))


def both_clocks() -> tuple[float, float]:
    """The monotonic and the wall clock at one moment, whatever else runs on this machine."""
    for _ in range(CLOCKS_TRIES):
        before_s, wall_s, after_s = time.monotonic(), time.time(), time.monotonic()
        if after_s - before_s < CLOCKS_WITHIN_S:
            break
    return (before_s + after_s) / 2, wall_s


def _unsent(arrival: Arrival) -> Sample:
    return Sample(
        index=arrival.index,
        kind=arrival.kind,
        intended_s=arrival.at_s,
        outcome=Outcome.DROPPED,
        error="dropped",
    )


def _unfinished(flight: InFlight) -> Sample:
    return Sample(
        index=flight.arrival.index,
        kind=flight.arrival.kind,
        intended_s=flight.arrival.at_s,
        outcome=Outcome.UNFINISHED,
        sent_s=flight.sent_s,
        error="unfinished",
    )
