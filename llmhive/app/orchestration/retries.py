"""Whether to try again, where, and after how long.

Pure: no clock, no chance, no I/O; the caller passes what time it is and what chance drew.
What counts for the breaker stands in the same table, so that the two cannot disagree.
Source: DESIGN.md, sections 3.3 and 3.4; RFC 9110 section 10.2.3 for Retry-After.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from types import MappingProxyType

# A vendor's mistake must not park a credential for days: after an hour it is asked again.
RETRY_AFTER_MAX_S = 3600.0
# The longest legal value is an HTTP date of 29 characters; anything much longer is no value.
RETRY_AFTER_LENGTH_MAX = 64
# 2**30 times any base is beyond every cap; more doublings would only overflow.
DOUBLINGS_MAX = 30
NUMBER = re.compile(r"\d+(\.\d*)?")


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """The numbers of retrying; the defaults are the documented ones."""

    attempts: int = 3
    base_s: float = 0.5
    cap_s: float = 8.0
    budget_start: float = 10.0
    budget_ratio: float = 0.2


class AttemptEnd(StrEnum):
    """How one call of a provider ended, when not in a complete answer."""

    CONNECT_FAILED = "connect_failed"  # refused, DNS, TLS: the provider was not reached
    CONNECT_TIMED_OUT = "connect_timed_out"  # not reached either, and that took its time
    CONNECTION_LOST = "connection_lost"  # reset, or closed before the answer began
    TIMED_OUT = "timed_out"
    REQUEST_TIMEOUT = "request_timeout"  # 408
    CONFLICT = "conflict"  # 409
    SERVER_ERROR = "server_error"  # 5xx, 529 included
    INCOMPLETE = "incomplete"  # ended without its terminal event, or with an error event
    UNREADABLE = "unreadable"  # not the shape that this provider promises
    RATE_LIMITED = "rate_limited"  # 429 of the kind that passes
    QUOTA_EXHAUSTED = "quota_exhausted"  # 402, or 429 of the kind that money ends
    CREDENTIAL_REFUSED = "credential_refused"  # 401, 403
    REQUEST_REFUSED = "request_refused"  # 400, 404, 413, 422 and every other 4xx
    BLOCKED = "blocked"  # moderation
    CALLER_LEFT = "caller_left"
    DEADLINE_CUT = "deadline_cut"  # our own deadline was shorter than the attempt's time-out


class BreakerReport(StrEnum):
    """What the breaker is told."""

    FAILURE = "failure"
    CONNECT_FAILURE = "connect_failure"
    NEUTRAL = "neutral"
    COOL_DOWN = "cool_down"


@dataclass(frozen=True, slots=True)
class Advice:
    """What follows from an end: try the same provider again, try the next, tell the breaker."""

    retries_here: bool
    tries_next: bool
    report: BreakerReport


def _advice(report: BreakerReport, *, here: bool = False, onward: bool = False) -> Advice:
    return Advice(retries_here=here, tries_next=onward, report=report)


ADVICE: Mapping[AttemptEnd, Advice] = MappingProxyType(
    {
        AttemptEnd.CONNECT_FAILED: _advice(BreakerReport.CONNECT_FAILURE, here=True, onward=True),
        AttemptEnd.CONNECTION_LOST: _advice(BreakerReport.FAILURE, here=True, onward=True),
        # Repeating a time-out where it happened would spend the caller's time twice.
        AttemptEnd.CONNECT_TIMED_OUT: _advice(BreakerReport.CONNECT_FAILURE, onward=True),
        AttemptEnd.TIMED_OUT: _advice(BreakerReport.FAILURE, onward=True),
        AttemptEnd.REQUEST_TIMEOUT: _advice(BreakerReport.FAILURE, here=True, onward=True),
        AttemptEnd.CONFLICT: _advice(BreakerReport.NEUTRAL, here=True, onward=True),
        AttemptEnd.SERVER_ERROR: _advice(BreakerReport.FAILURE, here=True, onward=True),
        AttemptEnd.INCOMPLETE: _advice(BreakerReport.FAILURE, here=True, onward=True),
        AttemptEnd.UNREADABLE: _advice(BreakerReport.FAILURE, here=True, onward=True),
        # The next provider at once; waiting is for when there is none.
        AttemptEnd.RATE_LIMITED: _advice(BreakerReport.COOL_DOWN, onward=True),
        AttemptEnd.QUOTA_EXHAUSTED: _advice(BreakerReport.COOL_DOWN, onward=True),
        AttemptEnd.CREDENTIAL_REFUSED: _advice(BreakerReport.NEUTRAL, onward=True),
        # What one provider calls malformed the next would only refuse again, at a price.
        AttemptEnd.REQUEST_REFUSED: _advice(BreakerReport.NEUTRAL),
        AttemptEnd.BLOCKED: _advice(BreakerReport.NEUTRAL),
        AttemptEnd.CALLER_LEFT: _advice(BreakerReport.NEUTRAL),
        AttemptEnd.DEADLINE_CUT: _advice(BreakerReport.NEUTRAL),
    }
)

# The provider was not reached, so it did nothing.
UNREACHED = frozenset({AttemptEnd.CONNECT_FAILED, AttemptEnd.CONNECT_TIMED_OUT})

_STATUS_ENDS: Mapping[int, AttemptEnd] = MappingProxyType(
    {
        401: AttemptEnd.CREDENTIAL_REFUSED,
        402: AttemptEnd.QUOTA_EXHAUSTED,
        403: AttemptEnd.CREDENTIAL_REFUSED,
        408: AttemptEnd.REQUEST_TIMEOUT,
        409: AttemptEnd.CONFLICT,
        429: AttemptEnd.RATE_LIMITED,
    }
)


def end_of_status(status: int) -> AttemptEnd:
    """Name what an HTTP status other than 2xx means; a redirect is no provider's answer."""
    if status in _STATUS_ENDS:
        return _STATUS_ENDS[status]
    if status >= 500:  # noqa: PLR2004 - the class of server errors
        return AttemptEnd.SERVER_ERROR
    if status >= 400:  # noqa: PLR2004 - the class of client errors
        return AttemptEnd.REQUEST_REFUSED
    return AttemptEnd.UNREADABLE


def advise(end: AttemptEnd, *, is_delivered: bool) -> Advice:
    """What to do after `end`.

    Takes: is_delivered, whether any byte of the answer has reached the caller: then nothing
    is tried again anywhere.
    """
    advice = ADVICE[end]
    return _advice(advice.report) if is_delivered else advice


def backoff_s(retry: int, draw: float, config: RetryConfig) -> float:
    """How long to wait before the n-th retry: full jitter, so that callers do not come in waves.

    Takes: retry from 1; draw from [0, 1).
    """
    ceiling_s: float = min(config.cap_s, config.base_s * 2.0 ** min(retry - 1, DOUBLINGS_MAX))
    return draw * ceiling_s


def retry_after_s(headers: Mapping[str, str], *, now_wall_s: float) -> float | None:
    """How long the provider asks to wait, from 0 to an hour, or None if it says nothing sensible.

    Takes: headers with names in lower case; `retry-after-ms` is finer and wins over
    `retry-after` in seconds or as an HTTP date. A date is read against the provider's
    own `date`, so that clocks need not agree; `now_wall_s` serves when there is none.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return min(milliseconds / 1000.0, RETRY_AFTER_MAX_S)
    value = headers.get("retry-after", "").strip()
    seconds = _number(value)
    if seconds is None:
        date_s = _date_s(value)
        if date_s is None:
            return None
        provider_now_s = _date_s(headers.get("date", ""))
        seconds = date_s - (now_wall_s if provider_now_s is None else provider_now_s)
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S)


def _number(text: str) -> float | None:
    text = text.strip()
    if len(text) > RETRY_AFTER_LENGTH_MAX or not (text.isascii() and NUMBER.fullmatch(text)):
        return None
    return float(text)


def _date_s(text: str) -> float | None:
    if not text or len(text) > RETRY_AFTER_LENGTH_MAX:
        return None
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


class RetryBudget:
    """Leave to retry, earned by first attempts: a storm of failures runs out of it.

    One per worker and provider. It starts full, so that little traffic may retry, and
    never holds more than that.
    """

    __slots__ = ("_config", "_tokens")

    def __init__(self, config: RetryConfig) -> None:
        self._config = config
        self._tokens = config.budget_start

    @property
    def tokens(self) -> float:
        """How many retries are left, with the fraction of the next one."""
        return self._tokens

    @property
    def has_some(self) -> bool:
        """Whether there is leave for one retry."""
        return self._tokens >= 1.0

    def earn(self) -> None:
        """Count a first attempt."""
        self._tokens = min(self._tokens + self._config.budget_ratio, self._config.budget_start)

    def spend(self) -> bool:
        """Take leave for one retry; False when there is none."""
        if not self.has_some:
            return False
        self._tokens -= 1.0
        return True
