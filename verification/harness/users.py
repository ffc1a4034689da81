"""Who the suite is to the service: users, their keys, and names that carry the run.

A leaf: imports nothing of the harness.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

FREE: Final = "free"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of the service with a key of their own.

    `customer` is the Stripe customer tied to the user, or None. The key is left out of
    `repr`, so that no report shows it.
    """

    id: str
    key: str = field(repr=False)
    key_id: str = ""
    tier: str = FREE
    customer: str | None = None

    @property
    def authorization(self) -> str:
        """The value of the `Authorization` header."""
        return f"Bearer {self.key}"

    @property
    def key_name(self) -> str:
        """What stands for the key where it is masked; safe inside a line of JSON."""
        return f"key of {json.dumps(self.id)[1:-1]}"
