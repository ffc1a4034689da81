"""Faults of a profile on a stack of our own, at their time in the run, bitten and healed.

The schedule's start is what a generator wrote; the report draws the bands from when a fault
really bit and was healed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from load import samples
from load.profile_file import PlannedFault
from verification.harness.faults import Faults
from verification.harness.waiting import now_s


@dataclass(slots=True)
class FaultWatch:
    """Puts each planned fault on its link when its time has come, and takes it off again."""

    planned: Sequence[PlannedFault]
    faults: Faults | None
    raw: Path
    log: list[dict[str, Any]] = field(default_factory=list)
    _t0_s: float | None = None
    _active: dict[int, AbstractContextManager[Any]] = field(default_factory=dict)
    _done: set[int] = field(default_factory=set)

    def look(self) -> None:
        """Do what is due now. Called twice a second.

        Raises: FaultDidNotBiteError, FaultNotHealedError.
        """
        if not self.planned or self.faults is None:
            return
        if self._t0_s is None:
            self._t0_s = self._start_s()
        if self._t0_s is None:
            return
        at_s = now_s() - self._t0_s
        for number, fault in enumerate(self.planned):
            is_on = number in self._active
            if not is_on and number not in self._done and at_s >= fault.at_s:
                self._apply(number, fault)
            elif is_on and at_s >= fault.at_s + fault.for_s:
                self._heal(number)

    def end(self) -> None:
        """Heal whatever is still there."""
        for number in list(self._active):
            self._heal(number)

    def _apply(self, number: int, fault: PlannedFault) -> None:
        assert self.faults is not None
        context = self.faults.slow(fault.link, fault.latency_ms)
        context.__enter__()
        self._active[number] = context
        began_s = next(
            float(str(entry["asked_s"]))
            for entry in reversed(self.faults.log)
            if entry["link"] == fault.link
        )
        self.log.append(
            {
                "number": number,
                "what": f"{fault.link} {fault.latency_ms} ms slower",
                "from_s": began_s - (self._t0_s or 0.0),
            }
        )

    def _heal(self, number: int) -> None:
        self._active.pop(number).__exit__(None, None, None)
        self._done.add(number)
        for entry in self.log:
            if entry["number"] == number:
                entry["until_s"] = now_s() - (self._t0_s or 0.0)

    def _start_s(self) -> float | None:
        """The schedule's start on our monotonic clock, once a generator has written it."""
        begins = [one.begin for one in samples.read(self.raw).generators.values() if one.begin]
        if not begins:
            return None
        return now_s() - (time.time() - begins[0].started)
