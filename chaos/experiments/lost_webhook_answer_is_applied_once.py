"""Answers to Stripe are lost after the service acted; Stripe delivers again, and it counts once.

Matters because a lost answer is the one fault that no test of the happy path has, and the only
one that turns a retry into money: what was applied must not be applied again, and must be
acknowledged when it is asked about.
"""

from __future__ import annotations

from chaos.experiment import Experiment, Limits, after
from chaos.nemeses.answers import lose_answers
from chaos.workloads.webhooks import everything_delivered, stripe_delivers
from verification.checkers.availability import AnswersAsPromised
from verification.checkers.exactly_once import AppliedExactlyOnce
from verification.contract import promises

# A duplicate may meet the first delivery at work, and is told to come back.
AGAIN, LOST = "webhook_in_progress", "read_timeout"
# What was under way when the fault came or went.
CUT = "closed"

EXPERIMENT = Experiment(
    claim="an event whose answer was lost is applied once, and acknowledged when it comes again",
    source="DESIGN 3.6",
    proves=(promises.APPLIED_ONCE, promises.ACKNOWLEDGED_WHEN_DONE),
    workload=stripe_delivers(customers=3, proxied=True, one_off=True),
    nemesis=lose_answers(),
    strikes=after(8, "deliver"),
    heals=after(6, "deliver", status=0),
    ends=after(10, "deliver", status=200),
    reads=(everything_delivered(),),
    checkers=(
        AppliedExactlyOnce(),
        AnswersAsPromised(f="deliver", broken=frozenset({AGAIN, LOST, CUT}), wants=LOST),
    ),
    workers=1,
    limits=Limits(operations=600, chats=20),
    mutants=("st-duplicate-never-acknowledged",),
)
