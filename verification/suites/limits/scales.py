"""The configurations in which limits are judged: as few as possible, since each is a stack.

CALM has the default window, so that nothing that a claim counts leaves it meanwhile; SHORT
has one that rolls on within a claim; most claims on faults run at the service's defaults.
"""

from __future__ import annotations

from typing import Final

from verification.contract.tiers import Tier, as_setting
from verification.harness import clock

# The suite shares two cores with what it starts, so Redis may answer later than the default
# 50 ms without being away. Where exactness is claimed, the service waits for it.
PATIENT: Final = {"REDIS_DEADLINE_S": "1"}
AMPLE: Final = 1_000_000

# An odd number, so that it shows to which side a worker's share of it is rounded.
FREE: Final = Tier("free", requests=11, tokens=AMPLE, in_flight=100)
"""Requests are what runs out, however many come at once."""
METERED: Final = Tier("metered", requests=1000, tokens=4000, in_flight=64)
"""Tokens are what runs out."""
NARROW: Final = Tier("narrow", requests=AMPLE, tokens=AMPLE, in_flight=4)
"""Places in flight are what runs out."""
BUSY: Final = Tier("busy", requests=AMPLE, tokens=AMPLE, in_flight=100)
"""Nothing runs out."""
STEADY: Final = Tier("steady", requests=30, tokens=AMPLE, in_flight=100)

CALM: Final = {
    **PATIENT,
    "RATE_LIMIT_TIERS": as_setting(FREE, METERED, NARROW, BUSY, STEADY),
    # A provider that fails on purpose is asked again, whoever else is waiting.
    "BREAKER_MIN_FAILURES": "1000",
    "RETRY_BUDGET_START": "1000",
}

WINDOW_S: Final = 1.5
LEASE_S: Final = 3.0
PREFIX: Final = "vfy:limits:"
SHORT: Final = {
    **CALM,
    "RATE_LIMIT_WINDOW_S": f"{WINDOW_S:g}",
    "RATE_LIMIT_INFLIGHT_LEASE_S": f"{LEASE_S:g}",
    "RATE_LIMIT_REDIS_PREFIX": PREFIX,
}
SHIFTABLE: Final = {**SHORT, **clock.shiftable()}
"""The same, on a wall clock that a claim can step."""
