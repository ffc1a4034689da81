"""The only place of the suite that lets time pass.

Claims wait for a condition, never for a time: `eventually` for what must come,
`steadily` for what must not (with a positive control), `together` for races. All
deadlines are on the monotonic clock. Knows nothing of the target; imports no harness module.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")
S = TypeVar("S")

# Short against every bound that is claimed (tens of ms and more), long enough to
# leave the two cores of a small machine to the service.
POLL_EVERY_S = 0.02
# Distinct values kept for the message: enough to see a path, few enough to read.
VALUES_SHOWN = 6
# A barrier that is not complete by then means that the machine could not start the threads.
RELEASE_WITHIN_S = 30.0


class ControlDidNotBiteError(Exception):
    """The positive control changed nothing, so a steady probe says nothing: unknown, not a pass."""


@dataclass(slots=True)
class _Seen:
    """The last distinct values of a probe, for the message of a failure."""

    values: list[object] = field(default_factory=list)
    count: int = 0

    def add(self, value: object) -> None:
        self.count += 1
        if not self.values or self.values[-1] != value:
            self.values = [*self.values, value][-VALUES_SHOWN:]

    def __str__(self) -> str:
        shown = "; ".join(_short(value) for value in self.values) or "nothing"
        return f"{self.count} looks, last distinct values: {shown}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"  # noqa: PLR2004  a terminal's three lines


def now_s() -> float:
    """Monotonic seconds of this machine, comparable with the simulators' `*_s`."""
    return time.monotonic()


def eventually(
    probe: Callable[[], T],
    *,
    until: Callable[[T], object],
    within_s: float,
    claim: str,
    every_s: float = POLL_EVERY_S,
) -> T:
    """The first value of `probe` that satisfies `until`, looked for until `within_s` are over.

    Looks at least twice, the last time at the deadline. What `probe` raises, passes.
    Raises: AssertionError with the claim, the bound and the last distinct values.
    """
    seen = _Seen()
    deadline_s = time.monotonic() + within_s
    while True:
        is_last = time.monotonic() >= deadline_s
        value = probe()
        if until(value):
            return value
        seen.add(value)
        if is_last:
            raise AssertionError(f"not within {within_s:g} s: {claim} ({seen})")
        time.sleep(min(every_s, max(0.0, deadline_s - time.monotonic())))


def came_true(
    probe: Callable[[], object], *, within_s: float, every_s: float = POLL_EVERY_S
) -> bool:
    """Whether `probe` became true within `within_s`: for the harness, which claims nothing."""
    deadline_s = time.monotonic() + within_s
    while not probe():
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(every_s)
    return True


def steadily(
    probe: Callable[[], T],
    *,
    holds: Callable[[T], object],
    for_s: float,
    claim: str,
    control: Callable[[], object],
    control_within_s: float = 5.0,
    every_s: float = POLL_EVERY_S,
) -> list[T]:
    """Every value that `probe` had during `for_s`, all of which satisfied `holds`.

    Takes: `control`, which does what must change the probe; it runs afterwards and shows
    that the probe can see a change, so that a blind probe is no pass.
    Raises: AssertionError when a value does not hold; ControlDidNotBiteError when the
    control leaves the probe unchanged for `control_within_s`.
    """
    values: list[T] = []
    end_s = time.monotonic() + for_s
    while time.monotonic() < end_s or not values:
        values.append(probe())
        if not holds(values[-1]):
            after_s = for_s - (end_s - time.monotonic())
            raise AssertionError(
                f"after {after_s:.2f} s of {for_s:g} s no longer: {claim} "
                f"(got {_short(values[-1])})"
            )
        time.sleep(every_s)
    control()
    try:
        eventually(
            probe,
            until=lambda value: not holds(value),
            within_s=control_within_s,
            claim="the control changes the probe",
        )
    except AssertionError as unchanged:
        raise ControlDidNotBiteError(f"cannot be judged: {claim}: {unchanged}") from unchanged
    return values


def settled(
    probe: Callable[[], T],
    *,
    quiet_s: float,
    within_s: float,
    claim: str,
    every_s: float = POLL_EVERY_S,
) -> T:
    """The value of `probe` once it has stayed the same for `quiet_s`.

    Raises: AssertionError when it still moves at `within_s`.
    """
    seen = _Seen()
    deadline_s = time.monotonic() + within_s
    last, since_s = probe(), time.monotonic()
    while time.monotonic() - since_s < quiet_s:
        if time.monotonic() >= deadline_s:
            raise AssertionError(f"still moving after {within_s:g} s: {claim} ({seen})")
        time.sleep(every_s)
        value = probe()
        seen.add(value)
        if value != last:
            last, since_s = value, time.monotonic()
    return last


def let_pass(seconds: float, *, because: str) -> None:
    """Let real time pass, for promises about time itself (a window, a lease, a tolerance).

    Takes: `because`, what has to run out; there is no condition to look at.
    """
    if not because:
        raise ValueError("let_pass: say what has to run out")
    time.sleep(max(0.0, seconds))


def together(n: int, act: Callable[[], T], *, within_s: float = RELEASE_WITHIN_S) -> list[T]:
    """What `n` threads got from `act`, all released from one barrier, in the threads' order.

    Raises: ExceptionGroup of everything that `act` raised, after all threads have ended.
    """
    return together_over(range(n), lambda _: act(), within_s=within_s)


def together_over(
    items: Iterable[S], act: Callable[[S], T], *, within_s: float = RELEASE_WITHIN_S
) -> list[T]:
    """What `act` gave for each item, one thread per item, released from one barrier.

    Gives: results in the order of `items`.
    Raises: ExceptionGroup of everything that `act` raised, after all threads have ended.
    """
    work = list(items)
    if not work:
        return []
    barrier = threading.Barrier(len(work))

    def released(item: S) -> T:
        barrier.wait(within_s)
        return act(item)

    with ThreadPoolExecutor(max_workers=len(work), thread_name_prefix="together") as pool:
        futures = [pool.submit(released, item) for item in work]
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise BaseExceptionGroup(f"{len(errors)} of {len(work)} threads raised", errors)
    return [future.result() for future in futures]


@dataclass(slots=True)
class Meanwhile:
    """Something that runs in a thread while the test does something else."""

    _thread: threading.Thread
    _stop: threading.Event
    errors: list[BaseException] = field(default_factory=list)

    def stop(self, within_s: float = RELEASE_WITHIN_S) -> None:
        """End it, wait for it, and raise what it raised."""
        self._stop.set()
        self._thread.join(within_s)
        if self._thread.is_alive():
            raise TimeoutError(f"the thread beside the test did not end within {within_s:g} s")
        if self.errors:
            raise self.errors[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def meanwhile(act: Callable[[], object], *, every_s: float | None = None) -> Meanwhile:
    """Run `act` in a thread beside the test: once, or every `every_s` until stopped.

    Gives: a context manager; leaving it stops, joins and raises what `act` raised.
    """
    stop = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            act()
            while every_s is not None and not stop.wait(every_s):
                act()
        except BaseException as error:  # noqa: BLE001  handed to whoever stops it
            errors.append(error)

    thread = threading.Thread(target=run, name="meanwhile", daemon=True)
    beside = Meanwhile(thread, stop, errors)
    thread.start()
    return beside
