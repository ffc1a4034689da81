"""Events of a load: handled, applied and removable, without changing what anybody may use.

Each tells of a new subscription that was never paid (`incomplete`), of a customer who was made
for this run and chats with nobody. So both transactions run, the ledger gets its row, Stripe is
asked nothing, nobody is entitled to anything, and all rows go when the run's users do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from load.webhooks import CREATED, OWN
from verification.harness.stripe_events import subscription_created
from verification.harness.stripe_objects import subscription
from verification.harness.users import User

# Several, so that events of different customers run beside each other.
PAYERS: Final = 2
UNPAID: Final = "incomplete"


def templates(payers: Sequence[User]) -> tuple[str, ...]:
    """One template of an event for each payer."""
    found = []
    for payer in payers:
        told = subscription(payer, id=f"sub_{OWN}", status=UNPAID, created=CREATED)
        event = subscription_created(told, id=f"evt_{OWN}", created=CREATED)
        found.append(event.payload.decode())
    return tuple(found)
