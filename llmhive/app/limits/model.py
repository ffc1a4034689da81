"""Limits as arithmetic: buckets of a rolling window, decisions, and the fields that tell them.

The window of W ms is cut into 60 buckets; a bucket counts whole until all of it is older
than W. So at most L are admitted in any W, and what a rolling window would admit is refused
for at most one bucket (W/60). Pure: no clock, no I/O; times are whole milliseconds.
Source: DESIGN.md, section 3.2; draft-ietf-httpapi-ratelimit-headers-11; RFC 9110, 10.2.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

# 60 buckets make a second of a minute: fine enough for Retry-After, 411 bytes in Redis.
BUCKETS = 60
# For a refusal by requests in flight: when one of them ends is anybody's guess.
IN_FLIGHT_RETRY_MS = 1000


class Limit(StrEnum):
    """What can be exhausted; the first of several is named in a refusal."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    IN_FLIGHT = "in_flight"


@dataclass(frozen=True, slots=True)
class Tier:
    """What a user may have per window, and at once."""

    requests: int
    tokens: int
    in_flight: int

    def share(self, workers: int) -> Tier:
        """One worker's share, rounded up, while it cannot ask the others."""
        parts = (self.requests, self.tokens, self.in_flight)
        return Tier(*(-(-part // workers) for part in parts))

    def granting(self, requests: int | None) -> Tier:
        """The same with another number of requests, if one is given."""
        if requests is None or requests == self.requests:
            return self
        return Tier(requests, self.tokens, self.in_flight)


@dataclass(frozen=True, slots=True)
class LimitConfig:
    """The limits of every tier; a tier that is not listed is served as `least`.

    Takes: workers over all hosts; the lease of a request in flight, renewed at thirds.
    """

    tiers: Mapping[str, Tier]
    least: str = "free"
    window_s: float = 60.0
    workers: int = 1
    lease_s: float = 15.0

    @property
    def window_ms(self) -> int:
        """The window in whole milliseconds, one at least."""
        return max(1, round(self.window_s * 1000))

    @property
    def lease_ms(self) -> int:
        """The lease in whole milliseconds."""
        return max(1, round(self.lease_s * 1000))

    def tier(self, name: str) -> Tier:
        """The limits of a tier."""
        return self.tiers.get(name) or self.tiers[self.least]


class Demand(NamedTuple):
    """What a request asks for: one request, so many tokens, and a place in flight."""

    user: str
    operation_id: str
    tokens: int
    limits: Tier


class Decision(NamedTuple):
    """A store's answer; used counts include the request if it was admitted.

    `bucket` (in its window) is where an admitted request stands. Waits are from now.
    `requests_limit` is what counted: the store may know of an override.
    """

    refused_by: Limit | None
    requests_used: int
    tokens_used: int
    wait_ms: int
    requests_reset_ms: int
    tokens_reset_ms: int
    window_start_ms: int
    bucket: int
    requests_limit: int


class Settlement(NamedTuple):
    """The end of an admitted request: tokens used beyond those reserved, or fewer than them."""

    user: str
    operation_id: str
    surplus: int
    window_start_ms: int
    bucket: int


class Past(NamedTuple):
    """What a worker admitted by itself, to be counted later where all workers count.

    `at_ms` is of the worker's monotonic clock. `is_unsure`: it may stand there already.
    """

    at_ms: int
    requests: int
    tokens: int
    is_unsure: bool


def bucket_number(at_ms: int, window_ms: int) -> int:
    """The bucket in which a time lies, counted from the clock's beginning."""
    return at_ms * BUCKETS // window_ms


def leaves_at_ms(number: int, window_ms: int) -> int:
    """When a bucket no longer counts: all of it is older than the window then."""
    return -(-(number + BUCKETS + 1) * window_ms // BUCKETS)


class Admission(NamedTuple):
    """Whether a request may go on, and what its caller is told; settle it once if it may."""

    operation_id: str
    refused_by: Limit | None
    limits: Tier
    requests_remaining: int
    tokens_remaining: int
    requests_reset_s: int
    tokens_reset_s: int
    retry_after_s: int
    window_s: float
    degraded: bool

    @property
    def allowed(self) -> bool:
        """Whether the request may go on."""
        return self.refused_by is None

    @property
    def limit(self) -> int:
        """Requests per window."""
        return self.limits.requests

    @property
    def remaining(self) -> int:
        """Requests that are left now."""
        return self.requests_remaining

    @property
    def reset_s(self) -> int:
        """Seconds until more requests are left than now."""
        return self.requests_reset_s

    def headers(self) -> list[tuple[bytes, bytes]]:
        """RateLimit and RateLimit-Policy, and what else there is to say.

        Retry-After stands in refusals, X-RateLimit-Degraded while workers count alone.
        """
        left = (
            f'"requests";r={self.requests_remaining};t={self.requests_reset_s}, '
            f'"tokens";r={self.tokens_remaining};t={self.tokens_reset_s}'
        )
        fields = [
            (b"ratelimit", left.encode()),
            (b"ratelimit-policy", _policy(self.limits, self.window_s)),
        ]
        if self.refused_by is not None:
            fields.append((b"retry-after", str(self.retry_after_s).encode()))
        if self.degraded:
            fields.append((b"x-ratelimit-degraded", b"local"))
        return fields


def admission(
    demand: Demand, decision: Decision, *, limits: Tier, window_s: float, degraded: bool
) -> Admission:
    """A store's decision in the caller's terms; seconds are rounded up, never below one."""
    return Admission(
        operation_id=demand.operation_id,
        refused_by=decision.refused_by,
        limits=limits,
        requests_remaining=max(0, limits.requests - decision.requests_used),
        tokens_remaining=max(0, limits.tokens - decision.tokens_used),
        requests_reset_s=_seconds(decision.requests_reset_ms),
        tokens_reset_s=_seconds(decision.tokens_reset_ms),
        retry_after_s=0 if decision.refused_by is None else _seconds(decision.wait_ms),
        window_s=window_s,
        degraded=degraded,
    )


def _seconds(wait_ms: int) -> int:
    return max(1, -(-wait_ms // 1000))


# Tiers times two, whole and share: a handful of texts, each made once.
@lru_cache(maxsize=64)
def _policy(limits: Tier, window_s: float) -> bytes:
    window = max(1, -int(-window_s // 1))
    return (
        f'"requests";q={limits.requests};w={window}, "tokens";q={limits.tokens};w={window}, '
        f'"in_flight";q={limits.in_flight};qu="concurrent-requests"'
    ).encode()
