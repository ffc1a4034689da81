"""What an experiment works with: a target, its history, seeded chance, and the undo file.

Safe to use from several threads. The history's phases are marked here, so that moments can
count what happened since the last mark.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaos.experiment import Phase
from verification.harness.waiting import now_s
from verification.history import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.experiment import Limits
    from verification.harness.stripe_events import StripeEvent
    from verification.harness.target import Target
    from verification.harness.undo import UndoLog
    from verification.harness.users import User
    from verification.history import History, Operation


@dataclass(slots=True, kw_only=True)
class Apparatus:
    """One run of one experiment."""

    name: str
    target: Target
    history: History
    undo_log: UndoLog
    seed: int
    limits: Limits
    phase: Phase = Phase.BEFORE
    phase_began_s: float = 0.0
    _mark: int = 0
    pending: dict[str, StripeEvent] = field(default_factory=dict)
    """Stripe's events that were delivered and not acknowledged yet, by their id."""
    known_users: dict[str, list[User]] = field(default_factory=dict)
    """Tier -> users that were made or lent already."""
    known_customers: dict[str, User] = field(default_factory=dict)

    def chance(self, who: str) -> random.Random:
        """Choices of one caller: the same for the same seed, experiment and name."""
        return random.Random(f"{self.seed}/{self.name}/{who}")  # noqa: S311  repeatable, no secret

    def enter(self, phase: Phase) -> None:
        """A new phase begins; moments count from here."""
        self.phase, self._mark, self.phase_began_s = phase, len(self.history), now_s()

    def in_this_phase(self, f: str) -> list[Operation]:
        """The operations of a kind that began and ended since the phase began."""
        return [
            one
            for one in list(self.history)[self._mark :]
            if one.f == f and one.started_s >= self.phase_began_s
        ]

    @property
    def is_spent(self) -> bool:
        """The workload has done as much as it may."""
        return len(self.history) >= self.limits.operations

    def users(self, tier: str, count: int) -> list[User]:
        """So many users of a tier, the same ones whenever this experiment asks again."""
        known = self.known_users.setdefault(tier, [])
        known += [self.target.new_user(tier) for _ in range(count - len(known))]
        return known[:count]

    def customer(self, name: str) -> User:
        """The customer of that name, made on first use."""
        if name not in self.known_customers:
            self.known_customers[name] = self.target.new_customer()
        return self.known_customers[name]

    @property
    def customers(self) -> list[User]:
        """Every customer of this experiment."""
        return list(self.known_customers.values())

    def note(
        self,
        f: str,
        *,
        process: str,
        since_s: float,
        outcome: Outcome = Outcome.OK,
        **value: Any,
    ) -> Operation:
        """Write into the history what ends now."""
        return self.history.add(
            process=process,
            f=f,
            outcome=outcome,
            started_s=since_s,
            finished_s=max(since_s, now_s()),
            value=value,
        )

    @contextmanager
    def written_down(self, says: str, because: str) -> Iterator[None]:
        """Write a deed down before it is done that ends with its run, or cannot be taken back.

        It is struck when the body ends without an error: then it is over.
        """
        number = self.undo_log.write("nothing", says, because=because)
        yield
        self.undo_log.strike(number)
