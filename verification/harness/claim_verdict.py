"""From what pytest saw of a claim to the claim's verdict. A leaf beside claims.

A broken promise asserts (false); a broken harness, set-up, time-out or checker is unknown;
a need that the target does not meet is unverified. The three are never mixed. Source:
DESIGN section 5, "Verdicts".
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import pytest

from verification.harness.stack.model import MissingCapabilityError, StackError
from verification.verdict import UnknownVerdict


class ClaimVerdict(StrEnum):
    """What a run says of a claim, from worst to best."""

    FALSE = "false"
    UNKNOWN = "unknown"
    UNVERIFIED = "unverified"
    TRUE = "true"


RANK: Final = {verdict: rank for rank, verdict in enumerate(ClaimVerdict)}
"""The smaller, the worse."""


def worst(verdicts: list[ClaimVerdict]) -> ClaimVerdict:
    """The worst of several; of none: unknown."""
    return min(verdicts, key=RANK.__getitem__, default=ClaimVerdict.UNKNOWN)


# Why a claim is unverified.
CAPABILITY: Final = "capability"
NOT_SELECTED: Final = "not_selected"

# A skip says this first; what follows names what the target lacks.
SKIPPED_FOR_WANT: Final = "unverified: "
# The message of pytest-timeout, which fails a test by the same exception as pytest.fail.
TIMED_OUT: Final = "from pytest-timeout"
# A reason is read by people, in a table and in an annotation.
WHY_MAX: Final = 2000


@dataclass(frozen=True, slots=True)
class Phase:
    """What one phase (setup, call, teardown) of a claim says; verdict None: nothing."""

    when: str
    verdict: ClaimVerdict | None
    why: str = ""
    reason: str = ""
    seconds: float = 0.0


def judge_phase(when: str, excinfo: pytest.ExceptionInfo[BaseException] | None) -> Phase:
    """The verdict of a phase by what it raised."""
    if excinfo is None:
        return Phase(when, ClaimVerdict.TRUE if when == "call" else None)
    error = excinfo.value
    why = excinfo.exconly()[:WHY_MAX]
    if isinstance(error, pytest.skip.Exception):
        text = str(error.msg).removeprefix(SKIPPED_FOR_WANT)
        return Phase(when, ClaimVerdict.UNVERIFIED, text[:WHY_MAX], CAPABILITY)
    if when == "call" and _is_broken_promise(error):
        return Phase(when, ClaimVerdict.FALSE, why)
    return Phase(when, ClaimVerdict.UNKNOWN, _named(when, error, why))


def quarantined(when: str, why: str) -> Phase:
    """A claim that is expected to fail says nothing until somebody mends it."""
    return Phase(when, ClaimVerdict.UNKNOWN, f"quarantined: {why}")


def _is_broken_promise(error: BaseException) -> bool:
    """Only an assertion breaks a promise; of several errors at once, every one must be one."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_broken_promise(one) for one in error.exceptions)
    if isinstance(error, pytest.fail.Exception):
        return TIMED_OUT not in str(error.msg)
    return isinstance(error, AssertionError)


def _named(when: str, error: BaseException, why: str) -> str:
    if isinstance(error, MissingCapabilityError):
        return f"the claim is written wrongly: {error}"
    if isinstance(error, BaseExceptionGroup):
        # Threads that fail alike say it once.
        leaves = dict.fromkeys(_named(when, one, _said_by(one)) for one in error.exceptions)
        return "\n".join(leaves)[:WHY_MAX]
    if isinstance(error, UnknownVerdict | StackError):
        return str(error)[:WHY_MAX]
    if isinstance(error, pytest.fail.Exception) and TIMED_OUT in str(error.msg):
        return f"timed out: {error.msg}"
    return f"{'the harness' if when == 'call' else f'its {when}'} broke: {why}"[:WHY_MAX]


def _said_by(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()
