"""The `claim` decorator: a test that says which lines of the checklist it proves.

    @claim("limits.window.two-workers", proves=[ROLLING_WINDOW], needs=[REDIS_READ], workers=2)
    def test_two_workers_together_admit_at_most_the_limit(target, history): ...

What it asks is read back with `claim_of`. Names of needs: harness/capabilities.py. Imports
the contract; knows no stack. Source: DESIGN section 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pytest

from verification.contract.promise import Promise
from verification.harness import capabilities

MARKER: Final = "claim"
# A claim's id is the name of its evidence folder and stands in commands.
ID: Final = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)+")
# A claim may ask for more than one worker, never for more than a laptop can start.
WORKERS_MAX: Final = 8


class ClaimError(Exception):
    """A claim that is written wrongly: its author's to mend, found when it is collected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a claim says of itself."""

    id: str
    proves: tuple[Promise, ...]
    needs: tuple[str, ...] = ()
    env: Mapping[str, str | None] | None = None
    workers: int = 1
    faults: tuple[str, ...] = ()
    full: bool = False
    """It runs at the default scale, in the nightly run only (`--full`)."""

    @property
    def items(self) -> tuple[str, ...]:
        """The ids of the checklist's items that it proves, each once."""
        return tuple(dict.fromkeys(item for promise in self.proves for item in promise.items))

    @property
    def source(self) -> str:
        """Where the promises stand."""
        return "; ".join(dict.fromkeys(promise.source for promise in self.proves))


def claim(
    id: str,  # noqa: A002  the word that its readers expect
    *,
    proves: Sequence[Promise],
    needs: Sequence[str] = (),
    env: Mapping[str, str | None] | None = None,
    workers: int = 1,
    faults: Sequence[str] = (),
    full: bool = False,
) -> pytest.MarkDecorator:
    """Mark a test as a claim.

    Takes: `proves` promises of the contract; `needs` capabilities, an unmet one is a skip that
    says so; `env` and `workers` choose the stack (None removes a variable); `faults` the links
    or parts that it disturbs, for the report; `full` keeps it out of the plain run.
    Raises: ClaimError when a claim like this cannot be.
    """
    asked = Claim(
        id=id,
        proves=tuple(proves),
        needs=tuple(needs),
        env=dict(env) if env else None,
        workers=workers,
        faults=tuple(faults),
        full=full,
    )
    _check(asked)
    return pytest.mark.claim(
        id=asked.id,
        proves=asked.proves,
        needs=asked.needs,
        env=asked.env,
        workers=asked.workers,
        faults=asked.faults,
        full=asked.full,
    )


def _check(asked: Claim) -> None:
    if not ID.fullmatch(asked.id):
        raise ClaimError(f"claim {asked.id!r}: expected an id like limits.window.two-workers")
    if not asked.proves or not all(isinstance(one, Promise) for one in asked.proves):
        raise ClaimError(f"claim {asked.id}: expected promises in proves, got {asked.proves!r}")
    if unheard := sorted(set(asked.needs) - capabilities.EVERY):
        raise ClaimError(f"claim {asked.id}: expected capabilities in needs, got {unheard}")
    if not 1 <= asked.workers <= WORKERS_MAX:
        raise ClaimError(
            f"claim {asked.id}: expected 1 to {WORKERS_MAX} workers, got {asked.workers}"
        )


def claim_of(item: pytest.Item) -> Claim | None:
    """The claim that a test makes, None for a test that makes none."""
    marker = item.get_closest_marker(MARKER)
    return Claim(**marker.kwargs) if marker else None


def sentence(item: pytest.Item) -> str:
    """The claim in words: the name of its test, with the case it was asked about."""
    name = item.name.removeprefix("test_")
    words, bracket, case = name.partition("[")
    return words.replace("_", " ") + (f" ({case.removesuffix(']')})" if bracket else "")
