"""Each event's effect happens once, however often it is delivered, whatever breaks meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from verification.checkers.exactly_once import AppliedExactlyOnce
from verification.contract import promises
from verification.contract.billing import EVENT_ATTEMPTS
from verification.contract.bounds import bounds
from verification.contract.http import LIVE
from verification.harness import billing, clock, stripe_events, stripe_objects
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.waiting import eventually, meanwhile, now_s, together
from verification.suites.billing.scales import EVENTS, SMALL
from verification.verdict import UnknownVerdict

if TYPE_CHECKING:
    from verification.harness.answer import Answer
    from verification.harness.stripe_events import StripeEvent
    from verification.harness.target import Target
    from verification.harness.users import User
    from verification.history import History

NEEDS = [can.STRIPE_SECRET, can.USERS, can.SCRIPT]
# A delivery is redelivered by Stripe for days; a claim waits seconds for the one that is taken.
REDELIVERED_WITHIN_S = 8.0
# How long who works on an event has it for itself, and as long as it is in the bounds.
LEASE_S, LEASE_S_BY_DEFAULT = 1.5, 15.0
# Stripe delivers an event again for so long in live mode. Source: Stripe, "Webhooks", 2025-11.
REDELIVERED_FOR_S = 3 * 86_400.0


def paid(target: Target, user: User, plan: str = "basic") -> StripeEvent:
    """A paid invoice of the customer, whose subscription Stripe knows."""
    of = stripe_objects.subscription(user, plan=plan)
    target.stripe.put(subscription=of)
    made = stripe_objects.invoice(user, of=of)
    target.stripe.put(invoice=made)
    return stripe_events.invoice_paid(user, invoice=made)


def redeliver(target: Target, event: StripeEvent, history: History) -> Answer:
    """Deliver again and again, as Stripe would, until it is acknowledged."""
    return eventually(
        lambda: billing.deliver(target, event, history),
        until=lambda answer: 200 <= answer.status < 300,
        within_s=REDELIVERED_WITHIN_S,
        claim="a redelivered event is acknowledged",
        every_s=0.1,
    )


@claim(
    "billing.replay.once",
    proves=[promises.APPLIED_ONCE, promises.INVOICE_PAID],
    needs=[*NEEDS, can.WORKERS],
    workers=2,
)
def test_one_event_delivered_fifty_times_at_once_is_applied_once(
    target: Target, history: History
) -> None:
    user = target.new_customer()
    event = paid(target, user)

    answers = together(50, lambda: billing.deliver(target, event, history))
    redeliver(target, event, history)
    rows = billing.read_ledger(target, user, history)

    if len({answer.served_by for answer in answers}) < target.workers_wanted:
        raise UnknownVerdict("only one worker was asked")
    assert {answer.status for answer in answers} <= {200, 503}
    assert [(row["event"], row["kind"]) for row in rows] == [(event.id, event.type)]
    AppliedExactlyOnce(event.id)(history).require()


@claim(
    "billing.replay.days-later",
    proves=[promises.APPLIED_ONCE, promises.ACKNOWLEDGED_WHEN_DONE],
    needs=[*NEEDS, can.CLOCK],
    env=clock.shiftable(),
    faults=("clock",),
)
def test_an_event_that_comes_again_after_days_is_known_and_changes_nothing(
    target: Target, history: History
) -> None:
    user = target.new_customer()
    event = paid(target, user)

    redeliver(target, event, history)
    # What is done needs nothing of Stripe any more.
    target.stripe.fail(500)
    target.shift_clock(REDELIVERED_FOR_S)
    late = billing.deliver(target, event, history, at=int(time.time() + REDELIVERED_FOR_S))
    rows = billing.read_ledger(target, user, history)

    assert late.status == 200
    assert [row["event"] for row in rows] == [event.id]
    AppliedExactlyOnce(event.id)(history).require()


@claim(
    "billing.failed-once.applied-later",
    proves=[promises.APPLIED_ONCE, promises.ACKNOWLEDGED_WHEN_DONE],
    needs=[*NEEDS, can.DATABASE],
    env={"DATABASE_BUSY_TIMEOUT_S": "0.3"},
    faults=["database"],
)
def test_an_event_that_met_a_locked_database_is_applied_when_delivered_again(
    target: Target, history: History
) -> None:
    user = target.new_customer()
    event = paid(target, user, "pro")

    with target.database_lock():
        refused = [billing.deliver(target, event, history) for _ in range(2)]
    redeliver(target, event, history)
    billing.read_ledger(target, user, history)

    assert [answer.status for answer in refused if answer.status < 500] == []
    assert billing.subscription(target, user)["tier"] == "pro"
    AppliedExactlyOnce(event.id)(history).require()


@claim(
    "billing.stripe-away.applied-later",
    proves=[promises.STRIPE_AWAY, promises.ACKNOWLEDGED_WHEN_DONE, promises.APPLIED_ONCE],
    needs=[*NEEDS, can.FAULTS],
    faults=["stripe"],
)
def test_an_event_whose_object_cannot_be_fetched_is_applied_when_stripe_is_back(
    target: Target, history: History
) -> None:
    user = target.new_customer()
    event = paid(target, user, "pro")

    with target.faults.reset("stripe"):
        cut = billing.deliver(target, event, history)
    target.stripe.fail(500, times=1)
    erring = billing.deliver(target, event, history)
    target.stripe.reply(times=1, status=200, raw="{not json")
    unreadable = billing.deliver(target, event, history)
    before = billing.read_ledger(target, user, history)
    redeliver(target, event, history)
    billing.read_ledger(target, user, history)

    assert [one.status for one in (cut, erring, unreadable)] == [503] * 3
    assert [one.retry_after_s is not None for one in (cut, erring, unreadable)] == [True] * 3
    assert before == []
    assert billing.subscription(target, user)["tier"] == "pro"
    AppliedExactlyOnce(event.id)(history).require()


@claim(
    "billing.stripe-hangs.answers-in-time",
    proves=[promises.STRIPE_AWAY],
    needs=[*NEEDS, can.FAULTS],
    faults=["stripe"],
)
def test_a_hanging_stripe_holds_up_no_delivery_for_long_and_nothing_is_lost(
    target: Target, history: History
) -> None:
    user = target.new_customer()
    event = paid(target, user)

    controls: list[float] = []
    ping = meanwhile(
        lambda: controls.append(target.http.get("/api/health/live").seconds), every_s=0.05
    )
    with target.faults.hang("stripe"), ping:
        hung = billing.deliver(target, event, history, timeout_s=20.0)
    redeliver(target, event, history)
    billing.read_ledger(target, user, history)

    # STRIPE_TIMEOUT_S is 1 here and 5 by default, half of what Stripe waits; five times that,
    # and what a request to the same workers lost to the machine meanwhile.
    assert (hung.status, hung.seconds < 5.0 + max(controls)) == (503, True)
    AppliedExactlyOnce(event.id)(history).require()


@claim(
    "billing.in-progress.not-acknowledged",
    proves=[promises.ACKNOWLEDGED_WHEN_DONE, promises.APPLIED_ONCE],
    needs=[*NEEDS, can.WORKERS],
    env={"STRIPE_TIMEOUT_S": "8"},
    workers=2,
)
def test_a_duplicate_of_an_event_in_progress_is_not_acknowledged_before_it_is_done(
    target: Target, history: History
) -> None:
    user = target.new_customer()
    event = paid(target, user)
    target.stripe.reply(hold="fetch")

    with meanwhile(lambda: billing.deliver(target, event, history, process="first")):
        target.stripe.wait_for_held(1, within_s=5.0, gate="fetch")
        duplicates = together(4, lambda: billing.deliver(target, event, history))
        target.stripe.clear_rules()
        target.stripe.release("fetch")
    redeliver(target, event, history)
    billing.read_ledger(target, user, history)

    assert {answer.status for answer in duplicates} == {503}
    assert {answer.code for answer in duplicates} == {"webhook_in_progress"}
    AppliedExactlyOnce(event.id)(history).require()


@claim(
    "billing.in-progress.costs-no-attempt",
    proves=[promises.ACKNOWLEDGED_WHEN_DONE, promises.APPLIED_ONCE],
    needs=[*NEEDS, can.WORKERS],
    env={"STRIPE_TIMEOUT_S": "8"},
    workers=2,
)
def test_duplicates_that_wait_for_an_attempt_are_none_themselves(
    target: Target, history: History
) -> None:
    user = target.new_customer()
    event = paid(target, user)
    target.stripe.reply(hold="fetch", status=500)

    # As many duplicates as an event has attempts, and then its own attempt fails.
    with meanwhile(lambda: billing.deliver(target, event, history, process="first")):
        target.stripe.wait_for_held(1, within_s=5.0, gate="fetch")
        duplicates = together(EVENT_ATTEMPTS, lambda: billing.deliver(target, event, history))
        target.stripe.clear_rules()
        target.stripe.release("fetch")
    redeliver(target, event, history)
    rows = billing.read_ledger(target, user, history)

    assert {answer.code for answer in duplicates} == {"webhook_in_progress"}
    assert [row["event"] for row in rows] == [event.id]
    AppliedExactlyOnce(event.id)(history).require()


@claim(
    "billing.worker-killed.lease-returns",
    proves=[promises.APPLIED_ONCE],
    needs=[*NEEDS, can.WORKERS, can.RESTART],
    env={"STRIPE_TIMEOUT_S": "8", "BILLING_EVENT_LEASE_S": f"{LEASE_S:g}"},
    workers=2,
)
def test_an_event_whose_worker_is_killed_half_way_is_applied_by_another(
    target: Target, history: History
) -> None:
    user = target.new_customer()
    event = paid(target, user)
    workers = target.reach_all_workers()
    target.stripe.reply(hold="fetch")

    with (
        target.at_worker(workers[0]) as there,
        meanwhile(lambda: billing.deliver(target, event, history, http=there)),
    ):
        target.stripe.wait_for_held(1, within_s=5.0, gate="fetch")
        target.kill_worker(int(workers[0].rpartition("-")[2]))
    killed_s, pings = now_s(), []
    target.stripe.clear()
    target.stripe.put(subscription=stripe_objects.subscription(user))
    with meanwhile(lambda: pings.append(target.http.get(LIVE.path).seconds), every_s=0.05):
        again = redeliver(target, event, history)
    billing.read_ledger(target, user, history)

    AppliedExactlyOnce(event.id)(history).require()
    margin_s = bounds().event_lease_back_within_s - LEASE_S_BY_DEFAULT
    if max(pings) > margin_s / 2:
        raise UnknownVerdict(f"a control took {max(pings):.2f} s, beside {margin_s:g} s to be seen")
    assert again.sent_s - killed_s <= LEASE_S + margin_s + max(pings)


@claim(
    "billing.invoice.second-event-adds-nothing",
    proves=[promises.APPLIED_ONCE],
    needs=NEEDS,
)
def test_a_second_event_of_one_invoice_and_kind_adds_no_row(
    target: Target, history: History
) -> None:
    user = target.new_customer()
    first = paid(target, user)
    of = stripe_objects.subscription(user)
    twin = stripe_events.event("invoice.paid", first.object, user=user.id)
    target.stripe.put(subscription=of)

    for event in (first, twin, first, twin):
        billing.deliver(target, event, history)
    rows = billing.read_ledger(target, user, history)

    assert twin.id != first.id
    assert [row["invoice"] for row in rows] == [first.invoice]
    AppliedExactlyOnce(first.id, twin.id)(history).require()


@claim(
    "billing.dead.after-attempts",
    proves=[promises.ACKNOWLEDGED_WHEN_DONE, promises.WEBHOOKS_SHOWN],
    needs=[*NEEDS, can.METRICS],
    env=SMALL,
)
def test_an_event_that_fails_too_often_is_dead_and_shown_to_be(target: Target) -> None:
    user = target.new_customer()
    event = paid(target, user)
    target.stripe.fail(500)

    answers = [billing.deliver(target, event) for _ in range(5)]

    statuses = [answer.status for answer in answers]
    counted = target.metrics().sum(EVENTS, outcome="dead")
    assert (statuses[:2], statuses[-1], set(statuses) <= {200, 503}) == ([503, 503], 200, True)
    assert counted >= 1
    assert billing.subscription(target, user)["tier"] == "free"


@claim("billing.outcomes.counted", proves=[promises.WEBHOOKS_SHOWN], needs=[*NEEDS, can.METRICS])
def test_every_delivery_is_counted_by_its_type_and_what_became_of_it(target: Target) -> None:
    user = target.new_customer()
    event, kinds = paid(target, user), ("invoice.paid", "other")
    unknown = stripe_events.event("charge.of_tomorrow", {"id": "ch_1", "object": "charge"})
    outcomes = ("applied", "duplicate", "ignored", "failed")
    before = target.settled_metrics()

    target.stripe.reply(times=1, status=500)
    answers = [billing.deliver(target, one) for one in (event, event, event, unknown)]
    after = target.settled_metrics()

    grown = {
        (kind, outcome): after.sum(EVENTS, type=kind, outcome=outcome)
        - before.sum(EVENTS, type=kind, outcome=outcome)
        for kind in kinds
        for outcome in outcomes
    }
    wanted = {("invoice.paid", one): 1 for one in ("failed", "applied", "duplicate")}
    assert [answer.status for answer in answers] == [503, 200, 200, 200]
    assert {one: count for one, count in grown.items() if count} == {
        **wanted,
        ("other", "ignored"): 1,
    }
    assert after.sum(EVENTS) - before.sum(EVENTS) == len(answers)
