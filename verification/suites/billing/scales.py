"""The configuration in which billing is judged by numbers and secrets of its own: one stack.

None of them touches what another claim counts.
"""

from __future__ import annotations

from typing import Final

# Where deliveries are counted, by type and by what became of them.
EVENTS: Final = "llmhive_webhook_events_total"
# Seconds, so that a claim sees both sides of it.
GRACE_S: Final = 4.0
ATTEMPTS: Final = 3
OLD: Final = "whsec_canary_of_the_old_secret_0123456789"
NEW: Final = "whsec_canary_of_the_new_secret_9876543210"

SMALL: Final = {
    "BILLING_GRACE_DAYS": f"{GRACE_S / 86_400:.8f}",
    "BILLING_EVENT_ATTEMPTS": str(ATTEMPTS),
    "STRIPE_WEBHOOK_SECRET": f"{OLD},{NEW}",
}
