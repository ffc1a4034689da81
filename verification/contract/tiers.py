"""The tiers and what each may use. Source: DESIGN 3.2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier's limits: requests and tokens in a window, requests in flight at once."""

    name: str
    requests: int
    tokens: int
    in_flight: int


FREE: Final = Tier("free", requests=10, tokens=10_000, in_flight=2)
BASIC: Final = Tier("basic", requests=30, tokens=50_000, in_flight=4)
PRO: Final = Tier("pro", requests=100, tokens=500_000, in_flight=16)
ENTERPRISE: Final = Tier("enterprise", requests=1000, tokens=2_000_000, in_flight=64)

TIERS: Final = {tier.name: tier for tier in (FREE, BASIC, PRO, ENTERPRISE)}
"""From the least to the most."""

WINDOW_S: Final = 60.0
IN_FLIGHT_LEASE_S: Final = 15.0


def as_setting(*tiers: Tier) -> str:
    """The value of RATE_LIMIT_TIERS that gives these tiers, so that a claim can shrink them."""
    return ",".join(f"{one.name}={one.requests}:{one.tokens}:{one.in_flight}" for one in tiers)
