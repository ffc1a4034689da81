"""The gate on known truths: what it states holds, and it passes and fails as seldom wrongly.

A gate that nobody has calibrated is one more number; these are its error rates.
"""

from __future__ import annotations

import math

import pytest

from load import binomial, gate, known_truths
from load.gate import Judged, Run, judge, judge_target
from load.instrument import Sighting
from load.known_truths import Distribution, StallingServer, answered, failed, recorded, traffic
from load.measures import Fate, Mark
from load.samples import Beat, End, Outcome, Recording, Sample
from load.schedule import Arrival, Traffic
from verification.contract.load import LatencyTarget, load_targets

TARGETS = load_targets()
SEEDS = range(200)
N = 600
BEFORE = {"instance": "vfy-1", "version": "1"}
TARGET = LatencyTarget(
    id="t",
    text="a request takes at most 1 s",
    source="a test",
    kinds=("health",),
    measure="answered",
    within_s=1.0,
    share_late_max=0.01,
)
SHAPES = {"lognormal": known_truths.lognormal, "bimodal": known_truths.bimodal}
SHAPES["heavy tail"] = known_truths.heavy_tail


def judged(distribution: Distribution, seed: int, n: int = N) -> Judged:
    return judge_target(TARGET, known_truths.marks_of(distribution, TARGET.within_s, n, seed))


def run(wanted: Traffic, recording: Recording, **more: object) -> Run:
    sighting = Sighting(before=BEFORE, after=BEFORE)
    facts = {"traffic": wanted, "warm_up_s": 5.0, "recording": recording, "sighting": sighting}
    return Run(**(facts | more))  # type: ignore[arg-type]  # tests replace single fields


def verdicts(of: Run) -> dict[str, bool | None]:
    found = judge(of, TARGETS).judged
    return {one.target.id: one.verdict.valid for one in found if one.unverified is None}


def why(of: Run, target_id: str = "health.answered") -> str:
    found = {one.target.id: one.verdict for one in judge(of, TARGETS).judged}
    return str(found[target_id].first)


@pytest.mark.parametrize("p99_s", [0.97, 1.03], ids=["just under", "just over"])
@pytest.mark.parametrize("shape", SHAPES)
def test_stated_intervals_hold_the_truth_and_wrong_verdicts_are_rare(
    shape: str, p99_s: float
) -> None:
    distribution = SHAPES[shape](p99_s)
    share_late = distribution.beyond(TARGET.within_s)
    wrong = share_late > TARGET.share_late_max

    found = [judged(distribution, seed) for seed in SEEDS]

    quantile = sum(
        (one.spread.p99_low_s or 0) <= p99_s <= (one.spread.p99_high_s or math.inf) for one in found
    )
    share = sum(low <= share_late <= high for low, high in (one.share for one in found))
    assert min(quantile, share) >= 0.93 * len(SEEDS)
    assert sum(one.verdict.valid is wrong for one in found) <= 0.05 * len(SEEDS)


@pytest.mark.parametrize(("p99_s", "valid"), [(0.4, True), (4.0, False)], ids=["far under", "over"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_clear_difference_is_decided_in_at_least_95_of_100_runs(
    shape: str, p99_s: float, *, valid: bool
) -> None:
    found = [judged(SHAPES[shape](p99_s), seed, 2000).verdict.valid for seed in range(40)]

    assert found.count(valid) >= 38


def test_a_stall_is_counted_to_the_request() -> None:
    wanted, server = traffic(), StallingServer(from_s=30.0, for_s=3.0)

    found = judge(run(wanted, recorded(wanted, server)), TARGETS).judged

    health = next(one for one in found if one.target.id == "health.answered")
    assert health.tally.late == server.late(wanted, 1.0)
    assert health.verdict.valid is False


def test_a_stall_in_the_warm_up_counts_only_what_was_due_after_it() -> None:
    wanted, server = traffic(), StallingServer(from_s=3.0, for_s=4.0)

    found = judge(run(wanted, recorded(wanted, server)), TARGETS).judged

    health = next(one for one in found if one.target.id == "health.answered")
    assert health.tally.late == server.late(wanted, 1.0, after_s=5.0)


def test_a_dead_server_fails_and_no_latency_is_stated() -> None:
    wanted = traffic()

    found = judge(run(wanted, recorded(wanted, lambda one: failed(one, "refused"))), TARGETS)

    health = next(one for one in found.judged if one.target.id == "health.answered")
    assert health.verdict.valid is False
    assert health.spread.p50_s == math.inf


def test_a_server_that_hangs_fails_though_callers_run_out() -> None:
    wanted = traffic()

    def hangs(one: Arrival) -> Sample:
        if one.index % 2:
            return Sample(
                index=one.index, kind=one.kind, intended_s=one.at_s, outcome=Outcome.DROPPED
            )
        return failed(one, "timeout", took_s=35.0)

    assert verdicts(run(wanted, recorded(wanted, hangs))) == {"health.answered": False}


def test_a_server_that_answers_errors_fast_fails_both_targets() -> None:
    wanted = traffic(chat=20.0)

    def answer(one: Arrival) -> Sample:
        return failed(one, "internal_error", 500) if one.index % 5 == 0 else answered(one)

    found = verdicts(run(wanted, recorded(wanted, answer)))
    assert found == {"chat.answered": False, "chat.errors": False}


def test_a_server_that_answers_errors_fast_fails_even_under_a_sick_instrument() -> None:
    wanted = traffic(chat=20.0)

    def answer(one: Arrival) -> Sample:
        return failed(one, "internal_error", 500) if one.index % 2 else answered(one, lag_s=2.0)

    found = verdicts(run(wanted, recorded(wanted, answer)))
    assert found == {"chat.answered": False, "chat.errors": False}


def test_too_few_samples_are_unknown_and_one_more_is_a_pass() -> None:
    few = judge_target(TARGET, known_truths.marks_of(known_truths.lognormal(0.01), 1.0, 298, 1))
    enough = judge_target(TARGET, known_truths.marks_of(known_truths.lognormal(0.01), 1.0, 299, 1))

    assert few.verdict.valid is None
    assert enough.verdict.valid is True


def test_nothing_measured_is_unknown() -> None:
    assert judge_target(TARGET, []).verdict.valid is None


def test_a_healthy_run_passes() -> None:
    wanted = traffic()

    assert verdicts(run(wanted, recorded(wanted, answered))) == {"health.answered": True}


def test_a_clock_that_jumped_is_unknown() -> None:
    wanted = traffic()
    beats = known_truths.steady_beats(70.0)
    beats[120:] = [
        Beat(at_s=one.at_s, wall_s=one.wall_s + 40.0, cpu_s=one.cpu_s, late_s=0.001)
        for one in beats[120:]
    ]

    jumped = run(wanted, recorded(wanted, answered, beats=beats))

    assert verdicts(jumped) == {"health.answered": None}
    assert "its clock jumped by 40.0 s" in why(jumped)


def starved_by_lag(wanted: Traffic) -> Recording:
    return recorded(wanted, lambda one: answered(one, lag_s=0.3 if one.index % 20 == 0 else 0.0))


def starved_by_its_own_work(wanted: Traffic) -> Recording:
    return recorded(wanted, answered, beats=known_truths.steady_beats(70.0, cpu_share=0.97))


def starved_by_others(wanted: Traffic) -> Recording:
    return recorded(wanted, answered, pings=known_truths.steady_pings(70.0, took_s=0.6))


def stopped_for_a_moment(wanted: Traffic) -> Recording:
    beats = known_truths.steady_beats(70.0)
    late = Beat(at_s=40.0, wall_s=known_truths.WALL_S + 40.0, cpu_s=8.0, late_s=1.4)
    return recorded(wanted, answered, beats=[*beats[:155], late, *beats[160:]])


def unwatched(wanted: Traffic) -> Recording:
    return recorded(wanted, answered, pings=[])


def killed(wanted: Traffic) -> Recording:
    return known_truths.without_end(recorded(wanted, answered))


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        (starved_by_lag, "the generator lagged"),
        (starved_by_its_own_work, "used 97% of a core"),
        (starved_by_others, "the machine was not free"),
        (stopped_for_a_moment, "stood still for 1.4 s"),
        (unwatched, "no control ping"),
        (killed, "ended without saying so"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_starved_generator_is_unknown(spoilt: object, says: str) -> None:
    wanted = traffic()

    starved = run(wanted, spoilt(wanted))  # type: ignore[operator]  # a maker of recordings

    assert verdicts(starved) == {"health.answered": None}
    assert says in why(starved)


def test_a_late_answer_that_is_the_generators_fault_is_no_fail() -> None:
    wanted = traffic()

    lagging = run(wanted, recorded(wanted, lambda one: answered(one, lag_s=1.5)))

    found = next(o for o in judge(lagging, TARGETS).judged if o.target.id == "health.answered")
    assert (found.tally.late, found.tally.unsure) == (0, found.tally.n)
    assert found.verdict.valid is None


def test_a_rate_that_was_not_reached_is_unknown() -> None:
    wanted = traffic()
    recording = recorded(wanted, answered)
    for index in list(recording.samples)[::50]:
        del recording.samples[index]

    missed = run(wanted, recording)

    assert verdicts(missed) == {"health.answered": None}
    assert "the rate was not reached" in why(missed)


@pytest.mark.parametrize(
    "after", [BEFORE | {"version": "2"}, BEFORE | {"instance": "other"}, {}], ids=str
)
def test_a_target_that_changed_is_unknown(after: dict[str, str]) -> None:
    wanted = traffic()

    changed = run(wanted, recorded(wanted, answered), sighting=Sighting(before=BEFORE, after=after))

    assert verdicts(changed) == {"health.answered": None}
    assert "the target changed" in why(changed)


def test_an_answer_from_another_instance_is_unknown() -> None:
    wanted = traffic()
    before = {"instance": "vfy-2"}

    foreign = run(
        wanted, recorded(wanted, answered), sighting=Sighting(before=before, after=before)
    )

    assert "answers came from another instance: vfy-1" in why(foreign)


def test_a_stopped_run_never_passes_and_may_fail() -> None:
    wanted = traffic()
    end = End(at_s=35.0, requests=600, stopped="the budget is spent", stopped_s=30.0)

    def until_the_stop(answer: known_truths.Answer) -> Recording:
        recording = recorded(wanted, answer, end=end)
        kept = {i: one for i, one in recording.samples.items() if one.intended_s < end.stopped_s}
        recording.samples = kept
        return recording

    well, ill = until_the_stop(answered), until_the_stop(lambda one: failed(one, "timeout"))

    assert verdicts(run(wanted, well)) == {"health.answered": None}
    assert "the budget is spent" in why(run(wanted, well))
    assert verdicts(run(wanted, ill)) == {"health.answered": False}


def test_what_the_service_adds_is_judged_apart_from_what_its_provider_took() -> None:
    wanted = traffic(chat=20.0)
    recording = recorded(wanted, lambda one: answered(one, took_s=20.0))
    every = recording.samples

    quick = run(wanted, recording, provider_s=dict.fromkeys(every, 19.9))
    slow = run(wanted, recording, provider_s=dict.fromkeys(every, 19.0))

    assert verdicts(quick)["chat.added"] is True
    assert verdicts(slow) == {"chat.answered": True, "chat.added": False, "chat.errors": True}


def test_what_the_service_adds_is_unverified_without_the_providers_journal() -> None:
    wanted = traffic(chat=20.0)

    found = judge(run(wanted, recorded(wanted, answered)), TARGETS).judged

    added = next(one for one in found if one.target.id == "chat.added")
    assert added.unverified == "the provider's journal, which cannot be read here"


def test_late_requests_in_one_heap_say_less_than_their_number() -> None:
    spread_out = [one % 150 == 0 for one in range(2000)]
    one_heap = [700 <= one < 714 for one in range(2000)]

    def effect(lates: list[bool]) -> float:
        fates = [Fate.LATE if late else Fate.HELD for late in lates]
        return gate.design_effect([Mark(at, fate, 0) for at, fate in enumerate(fates)])

    assert effect(spread_out) == pytest.approx(1.0, abs=0.05)
    assert effect(one_heap) > 10


def test_the_time_needed_is_known_before_the_start() -> None:
    wanted = traffic(65.0, health=20.0)

    told = gate.outlook(TARGET, wanted, warm_up_s=5.0)

    assert told is not None
    assert (told.needed, told.late_allowed) == (299, 6)
    assert told.seconds_needed == pytest.approx(299 / 20, abs=0.01)


def test_a_run_too_short_to_pass_is_told_so() -> None:
    told = gate.outlook(TARGET, traffic(15.0, health=20.0), warm_up_s=5.0)

    assert told is not None
    assert told.late_allowed == -1


def test_the_number_of_late_requests_that_a_pass_allows_is_the_tables() -> None:
    found = [binomial.samples_needed(0.01, k) for k in (0, 1, 2, 3, 4, 5, 10)]

    assert found == [299, 473, 628, 773, 913, 1049, 1693]
