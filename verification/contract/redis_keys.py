"""The documented keys in Redis: their names, kinds and ends. Source: checklist; DESIGN 3.2, 3.3.

One function for each key: a literal key anywhere else is a finding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

PREFIX: Final = "llmhive:ratelimit:"
ROOT: Final = "llmhive:"
# In flight leases are renewed every 5 s and last 15 s; their key outlives them by as much.
IN_FLIGHT_TTL_S: Final = 30.0
# A window's key costs about 3 kB at any limit; twice that says that it grows.
WINDOW_KEY_BYTES_MAX: Final = 6144
BUCKETS_MAX: Final = 120  # 60 of requests and 60 of tokens


@dataclass(frozen=True, slots=True)
class KeyRule:
    """A documented key: the whole name as a pattern, Redis's type, its longest time to live.

    `ttl_windows` counts windows (W), `ttl_s` seconds; both None: it may live for ever.
    """

    name: str
    pattern: re.Pattern[str]
    kinds: frozenset[str]
    ttl_windows: float | None = None
    ttl_s: float | None = None

    @property
    def has_end(self) -> bool:
        """Whether such a key must have a time to live."""
        return self.ttl_windows is not None or self.ttl_s is not None

    def ttl_max_s(self, window_s: float) -> float | None:
        """The longest time to live with windows of that length, None for no end."""
        return self.ttl_s if self.ttl_windows is None else self.ttl_windows * window_s


def window_pattern(user_id: str = "*", prefix: str = PREFIX) -> str:
    """A glob for the window keys of a user."""
    return f"{prefix}{_percent(user_id)}:[0-9]*"


def in_flight_key(user_id: str, prefix: str = PREFIX) -> str:
    """The key of a user's requests in flight."""
    return f"{prefix}{_percent(user_id)}:inflight"


def override_key(user_id: str) -> str:
    """The key of an operator's override for a user."""
    return f"{ROOT}override:{_percent(user_id)}"


def circuit_key(service_name: str) -> str:
    """The key of a breaker's shared state."""
    return f"{ROOT}circuit:{service_name}"


def trials_key(user_id: str, feature: str) -> str:
    """The key of a user's trials of a feature."""
    return f"{ROOT}trials:{_percent(user_id)}:{feature}"


def _percent(user_id: str) -> str:
    return user_id if user_id == "*" else quote(user_id, safe="-_.~")


def rules(prefix: str = PREFIX) -> tuple[KeyRule, ...]:
    """Every documented key, with that prefix of the limiter."""
    user, start = r"\{?(?P<user>[^:{}]+)\}?", r"(?P<window_start>\d+)"
    limiter = re.escape(prefix)
    kinds = frozenset({"hash"})
    return (
        KeyRule("window", re.compile(f"{limiter}{user}:{start}"), kinds, ttl_windows=2),
        KeyRule(
            "inflight",
            re.compile(f"{limiter}{user}:inflight"),
            frozenset({"zset"}),
            ttl_s=IN_FLIGHT_TTL_S,
        ),
        KeyRule("override", re.compile(f"{ROOT}override:{user}"), kinds),
        KeyRule(
            "quota",
            re.compile(f"{ROOT}quota:[^:]+:{start}"),
            frozenset({"hash", "string"}),
            ttl_windows=2,
        ),
        KeyRule("circuit", re.compile(f"{ROOT}circuit:.+"), kinds),
        KeyRule("trials", re.compile(f"{ROOT}trials:{user}:[^:]+"), frozenset({"string"})),
    )


def rule_for(key: str, prefix: str = PREFIX) -> KeyRule | None:
    """The rule of a key, None when it is none of the documented ones."""
    return next((rule for rule in rules(prefix) if rule.pattern.fullmatch(key)), None)
