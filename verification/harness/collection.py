"""Which of the collected tests run as claims, in which order, and what is known of each."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from verification.harness import claims, schedule
from verification.harness.claim_results import GROUP_SUFFIX, ClaimFacts, ClaimResults
from verification.harness.claims import Claim, claim_of
from verification.harness.evidence import folder_name
from verification.harness.run_options import Run
from verification.harness.schedule import Job, Unit
from verification.harness.stack.configuration import configuration

# A claim takes seconds; its set-up may start a whole stack on a busy machine.
TIMEOUT_S: Final = 90
# At the default scale a claim lives through windows, breakers' rests and wall clocks.
FULL_TIMEOUT_S: Final = 900


def facts(item: pytest.Item) -> ClaimFacts:
    """What is known of a claim before it runs. Raises KeyError for a test that is none."""
    asked = claim_of(item)
    if asked is None:
        raise KeyError(item.nodeid)
    path, line, _ = item.reportinfo()
    case = getattr(getattr(item, "callspec", None), "id", "")
    file = Path(path)
    root = item.config.rootpath
    return ClaimFacts(
        nodeid=GROUP_SUFFIX.sub("", item.nodeid),
        id=asked.id,
        sentence=claims.sentence(item),
        source=asked.source,
        promises=tuple(promise.id for promise in asked.proves),
        items=asked.items,
        file=str(file.relative_to(root) if file.is_relative_to(root) else file),
        line=(line or 0) + 1,
        evidence=folder_name(asked.id, case),
        needs=asked.needs,
        env=asked.env,
        workers=asked.workers,
        faults=asked.faults,
        full=asked.full,
    )


def arrange(
    config: pytest.Config, items: list[pytest.Item], run: Run, results: ClaimResults
) -> None:
    """Note every claim in `results`, leave out what was not asked for, order the rest in place.

    Raises: pytest.UsageError when two tests claim the same id.
    """
    asked = {item: claim for item in items if (claim := claim_of(item))}
    _refuse_doubles(asked)
    for item in asked:
        results.know(facts(item))
    if left_out := [item for item in items if not _is_wanted(asked.get(item), run)]:
        config.hook.pytest_deselected(items=left_out)
    wanted = [item for item in items if item not in set(left_out)]
    by_key = {item.nodeid: item for item in wanted if item in asked}
    known_s = _seconds_of_a_case(asked.values(), run.seconds_known)
    jobs = [_job(item, asked[item], known_s) for item in by_key.values()]
    if run.until_false:
        order = schedule.soonest(jobs, lambda job: _rank(asked[by_key[job.key]], run.first))
    else:
        order = schedule.units(jobs, workers=run.workers, seed=run.seed or 0)
    for number, unit in enumerate(order):
        is_urgent = run.until_false or max(job.seconds for job in unit) >= schedule.LONG_S
        for job in unit:
            group = Unit(str(job.configuration), number, is_urgent=is_urgent).group
            _prepare(by_key[job.key], group, asked)
    others = [item for item in wanted if item not in asked]
    items[:] = [*others, *(by_key[job.key] for unit in order for job in unit)]


def _seconds_of_a_case(claims: Iterable[Claim], known: Mapping[str, float]) -> dict[str, float]:
    """What a run of each claim takes, of which a claim with parameters has several."""
    cases = Counter(claim.id for claim in claims)
    return {name: seconds / max(cases[name], 1) for name, seconds in known.items()}


def _rank(claim: Claim, words: Sequence[str]) -> int:
    """The place of the first word that names the claim, one of its promises, or a part of its id.

    A promise is also named by what its id begins with, a part in the singular or the plural.
    """
    promises = [promise.id for promise in claim.proves]
    parts = {part.rstrip("s") for part in re.split(r"[.-]", claim.id)}
    for place, word in enumerate(words):
        is_promise = any(f"{promise}.".startswith(f"{word}.") for promise in promises)
        if is_promise or word == claim.id or word.rstrip("s") in parts:
            return place
    return len(words)


def _refuse_doubles(asked: Mapping[pytest.Item, Claim]) -> None:
    tests: dict[str, set[str]] = {}
    for item, claim in asked.items():
        tests.setdefault(claim.id, set()).add(item.nodeid.partition("[")[0])
    if doubled := sorted(f"{name}: {sorted(at)}" for name, at in tests.items() if len(at) > 1):
        raise pytest.UsageError(f"expected each claim's id once, got {'; '.join(doubled)}")


def _is_wanted(claim: Claim | None, run: Run) -> bool:
    if claim is None:
        return not run.claims
    if run.claims:
        return claim.id in run.claims
    return run.full or not claim.full


def _job(item: pytest.Item, claim: Claim, known: Mapping[str, float]) -> Job:
    wanted = configuration(claim.env, claim.workers)
    marker = item.get_closest_marker("timeout")
    # Its author expects a claim with a time limit of its own to need about half of it.
    allowed_s = float(marker.args[0]) / 2 if marker and marker.args else 0.0
    guessed_s = allowed_s if allowed_s > TIMEOUT_S / 2 else schedule.SECONDS_GUESSED
    return Job(item.nodeid, wanted.id, known.get(claim.id, guessed_s))


def _prepare(item: pytest.Item, group: str, asked: Mapping[pytest.Item, Claim]) -> None:
    item.add_marker(pytest.mark.xdist_group(group))
    if item.get_closest_marker("timeout") is None:
        seconds = FULL_TIMEOUT_S if asked[item].full else TIMEOUT_S
        # By signal a claim that hangs is unknown; by thread the whole process would end.
        method = "signal" if hasattr(signal, "SIGALRM") else "thread"
        item.add_marker(pytest.mark.timeout(seconds, method=method))
