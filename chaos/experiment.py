"""An experiment as a value: what is broken, when, under which load, and what must hold.

Everything here is data and pure predicates; the runner performs them. Faults fire on counts and
events, so a moment is a predicate over what happened, never a time of the clock. May import
contract, history, verdict and the names of the harness. Source: DESIGN section 7.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.apparatus import Apparatus
    from verification.contract.promise import Promise
    from verification.verdict import Checker


class Phase(StrEnum):
    """Where an experiment stands."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


class Expectation(StrEnum):
    """What the runner has to say of an experiment for it to hold."""

    HOLDS = "holds"
    NO_BITE = "no_bite"
    """That it is unknown, because its fault did not bite: it tries the runner itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nemesis:
    """A fault: `hold` begins it, proves by a probe that it bites, heals it, proves that it healed.

    `hold` gives what the probe met. It raises FaultDidNotBiteError or FaultNotHealedError, and
    heals on every way out. `accounts` names what it is to the bounds of the rate window.
    """

    name: str
    does: str
    touches: str
    undone_by: str
    needs: tuple[str, ...]
    hold: Callable[[Apparatus], AbstractContextManager[object]]
    accounts: tuple[str, ...] = ()


def both(first: Nemesis, second: Nemesis) -> Nemesis:
    """Two faults at once: both bite before the experiment goes on; healed in reverse order."""

    @contextmanager
    def hold(apparatus: Apparatus) -> Iterator[object]:
        with ExitStack() as held:
            yield [held.enter_context(one.hold(apparatus)) for one in (first, second)]

    return Nemesis(
        name=f"{first.name}+{second.name}",
        does=f"{first.does}, and {second.does}",
        touches=f"{first.touches}; {second.touches}",
        undone_by=f"{second.undone_by}, then {first.undone_by}",
        needs=(*first.needs, *second.needs),
        hold=hold,
        accounts=(*first.accounts, *second.accounts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What callers do for as long as `run` is held; leaving it stops and joins them."""

    says: str
    needs: tuple[str, ...]
    run: Callable[[Apparatus], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Moment:
    """When the experiment goes on, in words and as a predicate over what happened."""

    says: str
    has_come: Callable[[Apparatus], bool]


def after(count: int, f: str = "chat", **fields: object) -> Moment:
    """When so many operations of a kind, with these fields, began and ended in this phase."""
    such = "".join(f" with {name} {value}" for name, value in fields.items())

    def has_come(apparatus: Apparatus) -> bool:
        done = [one for one in apparatus.in_this_phase(f) if fields.items() <= one.value.items()]
        return len(done) >= count

    return Moment(f"after {count} operations {f!r}{such}", has_come)


def either(first: Moment, second: Moment) -> Moment:
    """Whichever of both comes first."""
    return Moment(
        f"{first.says}, or {second.says}",
        lambda apparatus: first.has_come(apparatus) or second.has_come(apparatus),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far an experiment may go, whatever happens; of its operations `chats` ask a provider."""

    operations: int = 2000
    chats: int = 1500
    seconds: float = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A final read: what has come to be, written into the history when all is healed."""

    says: str
    needs: tuple[str, ...]
    take: Callable[[Apparatus], object]


# A recovery that takes longer than every lease, rest and window of a shrunk service together.
RECOVERY_S: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One claim about one fault. Its name is that of its file.

    The workload begins, `strikes` comes, the fault bites, `heals` comes, the fault is healed,
    `ends` comes and the steady state is back within `recovery_s`. Then the reads, then the
    checkers. `mutants` are the known bugs that turn it red.
    """

    claim: str
    source: str
    proves: tuple[Promise, ...]
    workload: Workload
    nemesis: Nemesis
    strikes: Moment
    heals: Moment
    ends: Moment
    checkers: tuple[Checker, ...]
    mutants: tuple[str, ...]
    reads: tuple[Read, ...] = ()
    env: Mapping[str, str | None] = field(default_factory=dict)
    workers: int = 2
    recovery_s: float = RECOVERY_S
    limits: Limits = Limits()
    expects: Expectation = Expectation.HOLDS

    @property
    def needs(self) -> tuple[str, ...]:
        """What the target must be able to do."""
        reads = (need for read in self.reads for need in read.needs)
        return tuple(sorted({*self.workload.needs, *self.nemesis.needs, *reads}))
