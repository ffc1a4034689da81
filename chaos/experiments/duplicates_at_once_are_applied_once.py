"""Stripe delivers the same event six times at the same moment, again and again.

Matters because Stripe says that it may, and two workers that look at the same time both see an
event that nobody has applied yet. Works from outside, so on staging, too.
"""

from __future__ import annotations

from chaos.experiment import Experiment, Limits, after
from chaos.nemeses.deliveries import deliver_in_duplicate
from chaos.workloads.webhooks import everything_delivered, stripe_delivers
from verification.checkers.availability import AnswersAsPromised
from verification.checkers.exactly_once import AppliedExactlyOnce
from verification.contract import promises

AGAIN = "webhook_in_progress"

EXPERIMENT = Experiment(
    claim="an event that comes six times at once is applied once, and acknowledged",
    source="DESIGN 3.6",
    proves=(promises.APPLIED_ONCE, promises.ACKNOWLEDGED_WHEN_DONE),
    workload=stripe_delivers(customers=1, one_off=True, every_s=0.1),
    nemesis=deliver_in_duplicate(copies=6),
    strikes=after(3, "deliver"),
    heals=after(30, "deliver"),
    ends=after(3, "deliver"),
    reads=(everything_delivered(),),
    checkers=(
        AppliedExactlyOnce(),
        AnswersAsPromised(f="deliver", broken=frozenset({AGAIN})),
    ),
    workers=1,
    limits=Limits(operations=600, chats=20),
    mutants=("st-duplicate-never-acknowledged",),
)
