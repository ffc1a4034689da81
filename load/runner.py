"""One load run, from a profile to what the gate says: the only place where the parts meet.

Says what it will do, sends, waits for the end, reads what was seen, judges it, keeps all of it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from load import baseline, cost, locust_run, machine, outlook, samples
from load.crowd import CrowdWatch, spans
from load.faults import FaultWatch
from load.instrument import Sighting
from load.kept import Kept
from load.locust_run import WORKERS_WITHIN_S, Processes
from load.plan import Plan
from load.profile_file import Profile
from load.progress import Progress
from load.samples import Recording
from load.schedule import Traffic
from load.subject import Subject, SubjectError
from verification.contract.load import LoadTargets
from verification.harness.processes import keeper
from verification.harness.stack.choice import REMOTE

RAW: Final = "raw"
# How often the providers' journals are read during the run, so that they never run over.
JOURNAL_EVERY_S: Final = 20.0

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to run, and where to keep it."""

    profile: Profile
    targets: LoadTargets
    reports: Path
    processes: Processes = field(default_factory=Processes)
    earlier: dict[str, Any] | None = None
    """An earlier results.json that this run is to be compared with."""


def run(order: Order, subject: Subject, say: Say) -> Kept:
    """Run a profile against a subject and give everything that is known about it.

    Raises: SubjectError or BaselineError, before the first request of the load.
    """
    with _private_folder() as private:
        plan = _plan(order, subject, private)
        if order.earlier is not None:
            baseline.require_alike(order.earlier, plan.digest, subject.facts.get("stack", ""))
        for line in outlook.lines(order.profile, plan, order.targets):
            say(line)
        for want in subject.lacking:
            say(f"  left out: {want}")
        if invitation := order.processes.invitation(private):
            say(invitation)
        before = subject.look()
        if not before:
            raise SubjectError(f"{subject.base_url} does not say what it is")
        began, used = datetime.now(UTC), subject.reading()
        crowd = CrowdWatch((os.getpid(), keeper().pid))
        trouble, faults = _load(order, subject, plan, private, crowd)
        after, used_then = subject.look(), subject.reading()
    recording = samples.read(Path(plan.folder))
    sent = [one for one in recording.samples.values() if one.sent_s is not None]
    subject.settle(len(sent), sum(one.tokens for one in sent))
    return Kept(
        plan=plan.public(),
        profile=order.profile.name,
        sighting=Sighting(before=before, after=after),
        provider_s=dict(subject.journal.took_s) if subject.journal else None,
        journal_dropped=subject.journal.dropped if subject.journal else 0,
        faults=tuple(faults),
        crowd=_crowded(order, subject, recording, crowd),
        facts={**subject.facts, "url": subject.base_url, "kind": subject.kind},
        lacking=subject.lacking,
        machine=machine.fingerprint(),
        started=began.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        digest=plan.digest,
        trouble=trouble,
        cost={
            name: spent
            for name, one in used_then.items()
            if (spent := cost.between(used.get(name), one, len(sent)))
        },
    )


def _crowded(
    order: Order, subject: Subject, recording: Recording, crowd: CrowdWatch
) -> tuple[tuple[float, float], ...]:
    """When this machine was crowded, where the service runs on it, too."""
    begins = [one.begin.started for one in recording.generators.values() if one.begin]
    if subject.kind == REMOTE or not begins:
        return ()
    return tuple(spans(crowd.moments, min(begins), order.targets.instrument))


def not_run(order: Order, why: str, *, is_silent: bool) -> Kept:
    """What is known of a target that did not answer, or not as ours: nothing was sent to it."""
    profile, now = order.profile, datetime.now(UTC).isoformat(timespec="seconds")
    shutil.rmtree(order.reports / RAW, ignore_errors=True)
    return Kept(
        plan={"traffic": asdict(profile.traffic), "warm_up_s": profile.warm_up_s},
        profile=profile.name,
        sighting=Sighting(),
        facts={"stack": "remote", "users": "nothing was sent"},
        machine=machine.fingerprint(),
        started=now,
        finished=now,
        digest="",
        trouble=why,
        foreign=None if is_silent else why,
    )


def _load(
    order: Order, subject: Subject, plan: Plan, private: Path, crowd: CrowdWatch
) -> tuple[str | None, list[dict[str, Any]]]:
    """Send everything; what went wrong with the instrument, and the faults that there were."""
    total_s = plan.over_s - plan.drain_s
    with ExitStack() as ending:
        progress = ending.enter_context(Progress(total_s, Path(plan.folder)))
        watch = FaultWatch(order.profile.faults, subject.faults, Path(plan.folder))
        ending.callback(watch.end)
        child = locust_run.start(
            plan, subject.base_url, order.processes, private=private, reports=order.reports
        )
        read_s = [0.0]

        def seen(passed_s: float) -> str:
            progress.update()
            watch.look()
            crowd.look()
            if subject.journal and passed_s - read_s[0] > JOURNAL_EVERY_S:
                read_s[0] = passed_s
                subject.journal.read()
            return subject.reason_to_end()

        more_s = WORKERS_WITHIN_S if order.processes.elsewhere else 0.0
        trouble = locust_run.wait(child, plan, seen, more_s=more_s)
        if trouble:
            trouble = f"{trouble}: {child.stderr()[-800:].strip()}"
    if subject.journal:
        subject.journal.read()
    return trouble, watch.log


def _plan(order: Order, subject: Subject, private: Path) -> Plan:
    profile = order.profile
    lacking = {want.partition(":")[0] for want in subject.lacking}
    rates = {kind: rate for kind, rate in profile.traffic.rates.items() if kind not in lacking}
    if not any(rates.values()):
        raise SubjectError("nothing is left to send: " + "; ".join(subject.lacking))
    folder = order.reports / RAW
    shutil.rmtree(folder, ignore_errors=True)
    return Plan(
        run_id=subject.run_id,
        profile=profile.name,
        traffic=Traffic(rates, profile.traffic.stages, profile.traffic.seed),
        warm_up_s=profile.warm_up_s,
        request_timeout_s=profile.request_timeout_s,
        callers=subject.callers,
        budget=replace(subject.budget),
        folder=str(folder.resolve()),
        webhook_secret=subject.webhook_secret,
        webhook_events=subject.webhook_events,
        stop_file=str(private / "stop"),
    )


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder for the plan and its keys, gone with the run, also with a killed one."""
    folder = Path(tempfile.mkdtemp(prefix="llmhive-load-"))
    keeper().remove_at_end(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
