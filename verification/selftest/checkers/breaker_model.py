"""A right breaker and its provider as a small simulation, with wrong ones beside.

Workers count failures on their own, share the state, and hear of a change after a delay of
up to 1 s. It stands in for the service, so that the checker meets many right histories.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from verification.checkers.breaker_witnesses import BreakerNumbers
from verification.history import History, Outcome

ATTEMPT_LASTS_S = 0.05


@dataclass(slots=True)
class Model:
    """One run of the simulation. A wrong one differs by one of its numbers."""

    numbers: BreakerNumbers
    chance: random.Random
    opens_at: int = 5
    closes_at: int = 3
    probes: int = 3
    open_s: float | None = None
    ignores_open: bool = False
    history: History = field(default_factory=History)
    state: str = "closed"
    changed_s: float = -100.0
    state_before: str = "closed"
    opened_s: float = 0.0
    successes: int = 0
    failures: dict[int, list[float]] = field(default_factory=dict)
    in_flight: list[tuple[float, int, bool, bool]] = field(default_factory=list)
    epoch: int = 0

    def run(self, *, failing_until_s: float, ends_s: float) -> History:
        """Requests every few ms from each worker, a health report now and then."""
        now_s = 0.0
        while now_s < ends_s:
            now_s += self.chance.uniform(0.01, 0.12)
            self._finish(now_s)
            self._wake(now_s)
            worker = self.chance.randrange(self.numbers.workers)
            if self._admits(worker, now_s):
                self._attempt(worker, now_s, fails=now_s < failing_until_s)
            if self.chance.random() < 0.4:
                self._report(worker, now_s)
        self._finish(ends_s + 10)
        return self.history

    def _seen(self, worker: int, now_s: float) -> str:
        """The state as the worker knows it: the worker that changed it knows at once."""
        delay_s = 0.0 if worker == 0 else 0.8
        return self.state if now_s - self.changed_s >= delay_s else self.state_before

    def _admits(self, worker: int, now_s: float) -> bool:
        seen = self._seen(worker, now_s)
        if seen == "closed" or self.ignores_open:
            return True
        probing = sum(epoch == self.epoch and probe for _, epoch, _, probe in self.in_flight)
        return seen == self.state == "half_open" and probing < self.probes

    def _attempt(self, worker: int, now_s: float, *, fails: bool) -> None:
        lasts_s = self.chance.uniform(0.2, 4) * ATTEMPT_LASTS_S
        is_probe = self._seen(worker, now_s) == "half_open"
        self.history.add(
            process="openai",
            f="attempt",
            value={
                "result": "failure" if fails else "success",
                "first_byte_s": now_s + lasts_s,
                "worker": worker,
            },
            outcome=Outcome.OK,
            started_s=now_s,
            finished_s=now_s + lasts_s,
        )
        tag = self.epoch if is_probe or self._seen(worker, now_s) == self.state else -1
        self.in_flight.append((now_s + lasts_s, tag, fails, is_probe))
        if fails and not is_probe and tag == self.epoch:
            self.failures.setdefault(worker, []).append(now_s + lasts_s)

    def _finish(self, now_s: float) -> None:
        for ends_s, epoch, fails, is_probe in sorted(self.in_flight):
            if ends_s > now_s:
                continue
            self.in_flight.remove((ends_s, epoch, fails, is_probe))
            if epoch == self.epoch:
                self._count(ends_s, fails=fails, is_probe=is_probe)

    def _count(self, ends_s: float, *, fails: bool, is_probe: bool) -> None:
        if self.state == "half_open" and is_probe:
            self.successes += not fails
            if fails:
                self._change("open", ends_s)
            elif self.successes >= self.closes_at:
                self._change("closed", ends_s)
        elif self.state == "closed":
            for ended in self.failures.values():
                over = [one for one in ended if ends_s - self.numbers.window_s <= one <= ends_s]
                if len(over) >= self.opens_at:
                    self._change("open", ends_s)
                    return

    def _wake(self, now_s: float) -> None:
        open_s = self.open_s or self.numbers.open_s
        if self.state == "open" and now_s - self.opened_s >= open_s * self.chance.uniform(0.9, 1.1):
            self._change("half_open", now_s)

    def _change(self, state: str, now_s: float) -> None:
        self.state_before, self.state, self.changed_s = self.state, state, now_s
        self.epoch += 1
        self.successes = 0
        self.failures.clear()
        if state == "open":
            self.opened_s = now_s

    def _report(self, worker: int, now_s: float) -> None:
        self.history.add(
            process=f"worker {worker}",
            f="report",
            value={"state": self._seen(worker, now_s), "served_by": worker},
            outcome=Outcome.OK,
            started_s=now_s - 0.004,
            finished_s=now_s + 0.004,
        )
