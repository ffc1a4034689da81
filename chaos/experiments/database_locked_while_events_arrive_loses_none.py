"""Somebody holds the database's lock while Stripe delivers: nothing is acknowledged and lost.

Matters because an event that was acknowledged is never sent again: whoever answers 200 before it
is stored has lost a payment, and nobody will know.
"""

from __future__ import annotations

from chaos.experiment import Experiment, after
from chaos.nemeses.database import lock_database
from chaos.workloads.webhooks import everything_delivered, stripe_delivers
from verification.checkers.availability import AnswersAsPromised
from verification.checkers.exactly_once import AppliedExactlyOnce
from verification.contract import promises

AWAY, AGAIN = "database_unavailable", "webhook_in_progress"
# Without the database a delivery cannot give its event back: its lease has to end by itself.
LEASE_S = 2.0
SETTLES_S = LEASE_S + 1.0

EXPERIMENT = Experiment(
    claim="events that meet a locked database are refused, and all are applied once afterwards",
    source="DESIGN 3.6",
    proves=(promises.APPLIED_ONCE, promises.ACKNOWLEDGED_WHEN_DONE),
    env={"DATABASE_BUSY_TIMEOUT_S": "0.3", "BILLING_EVENT_LEASE_S": f"{LEASE_S:g}"},
    workload=stripe_delivers(customers=3),
    nemesis=lock_database(),
    strikes=after(8, "deliver"),
    heals=after(6, "deliver"),
    ends=after(10, "deliver", status=200),
    reads=(everything_delivered(),),
    checkers=(
        AppliedExactlyOnce(),
        AnswersAsPromised(
            f="deliver", broken=frozenset({AWAY, AGAIN}), settle_s=SETTLES_S, wants=AWAY
        ),
    ),
    mutants=("st-locked-acknowledged",),
)
