"""What the service promises, as frozen values with stable ids, each naming its items.

Claims say which of these they prove; the report turns them into lines of the checklist.
Written by hand from the design and the checklist, never from the service: two witnesses
are the point. The values stand in `promised/` by part; this is the one door to them.
"""

from __future__ import annotations

from typing import Final

from verification.contract.promise import Promise
from verification.contract.promised.billing import *  # noqa: F403  the door to all
from verification.contract.promised.breakers import *  # noqa: F403  the door to all
from verification.contract.promised.deployment import *  # noqa: F403  the door to all
from verification.contract.promised.http import *  # noqa: F403  the door to all
from verification.contract.promised.limits import *  # noqa: F403  the door to all
from verification.contract.promised.observability import *  # noqa: F403  the door to all
from verification.contract.promised.operators import *  # noqa: F403  the door to all
from verification.contract.promised.retries import *  # noqa: F403  the door to all
from verification.contract.promised.security import *  # noqa: F403  the door to all

EVERY: Final[dict[str, Promise]] = {
    promise.id: promise for promise in list(globals().values()) if isinstance(promise, Promise)
}
"""All promises by id."""
