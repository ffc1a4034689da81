"""A target that somebody else started, through the one door there is to it.

The door refuses, before anything is sent, a pin that differs, a lease that is held, a budget that
does not hold the run; it renews the lease, heeds the stop file, removes the users that were made.
The load itself is drawn from the budget at once, since it is known to the request beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from load.outlook import due_requests
from load.payers import PAYERS, templates
from load.plan import Budget, Caller, callers
from load.profile_file import Profile
from load.subject import Subject, SubjectError
from verification.contract.tiers import TIERS, WINDOW_S
from verification.harness import target_file
from verification.harness.staging.budget import Spent
from verification.harness.staging.session import RemoteRun, remote_run, stop_file_of
from verification.harness.staging.sighting import Seen, Sighting
from verification.harness.target_file import TargetFile

CHATS: Final = ("chat", "stream")
# Health before and after, the making of users.
BESIDE: Final = 20
# Users are given no more than this share of what their tiers allow, so that no 429 is our doing.
SHARE_OF_LIMIT: Final = 0.5


class NotOursError(SubjectError):
    """Something else answers there, or nothing does: nothing was sent, and that is the result."""

    def __init__(self, says: str, sighting: Sighting) -> None:
        super().__init__(says)
        self.is_silent = sighting.seen is Seen.SILENT


@contextmanager
def staging(file: Path, profile: Profile) -> Iterator[Subject]:
    """The target of a file, for one run.

    Raises: TargetFileError, RefusedError, NotOursError or SubjectError, before the first request
    of the load.
    """
    target = target_file.read(file)
    lacking = _lacking(target, profile)
    left_out = {want.partition(":")[0] for want in lacking}
    needed = _needed(target, profile, left_out)
    with remote_run(file, kind="load", estimate=needed) as run:
        if run.sighting.foreign:
            raise NotOursError(f"{target.base_url}: {run.sighting.says}", run.sighting)
        made = _callers(run, profile, left_out)
        if not run.purse.draw(_drawn(needed)):
            raise SubjectError(f"{run.ended}: {run.told()}")
        yield _subject(run, profile, made, lacking, needed, _payers(run, profile, left_out))
    for line in run.farewell:
        print(line, flush=True)  # noqa: T201  what was removed


def planned(file: Path, profile: Profile) -> tuple[bool, list[str]]:
    """Whether a target's budget holds a run, and what to say of it beforehand; sends nothing.

    Raises: TargetFileError.
    """
    target = target_file.read(file)
    lacking = _lacking(target, profile)
    needed = _needed(target, profile, {want.partition(":")[0] for want in lacking})
    minutes = profile.traffic.duration_s / 60
    told = [
        f"profile {profile.name}: {profile.text}",
        f"in {minutes:.1f} min it would use {target.budget.told(needed)}",
        *(f"not sent, for want of {want}" for want in lacking),
    ]
    reason = target.budget.exceeded_by(needed)
    return not reason, [*told, *([f"{reason} does not hold this: it is refused"] if reason else [])]


def _lacking(target: TargetFile, profile: Profile) -> tuple[str, ...]:
    """What cannot be sent to this target, each with what it wants."""
    has_users = bool(target.users) or "admin_key" in target.secrets
    rates = profile.traffic.rates
    wants = [f"{kind}: users, which the target file does not lend" for kind in CHATS]
    found = [] if has_users else [want for want in wants if rates.get(want.partition(":")[0])]
    if rates.get("webhook"):
        named = (("stripe_webhook", "to sign"), ("admin_key", "to make customers for it"))
        wants = [f"secrets.{name} {what}" for name, what in named if name not in target.secrets]
        found += [f"webhook: {' and '.join(wants)}"] if wants else []
    return tuple(found)


def _needed(target: TargetFile, profile: Profile, left_out: set[str]) -> Spent:
    due = {
        kind: count for kind, count in due_requests(profile.traffic).items() if kind not in left_out
    }
    chats = sum(due.get(kind, 0) for kind in CHATS)
    return target.budget.estimate(requests=sum(due.values()) + BESIDE, chats=chats)


def _drawn(needed: Spent) -> Spent:
    """The load's part: what stands beside it goes through the gate, one by one."""
    return Spent(requests=needed.requests - BESIDE, chats=needed.chats, tokens=needed.tokens)


def _callers(run: RemoteRun, profile: Profile, left_out: set[str]) -> tuple[Caller, ...]:
    """Users and their shares of the traffic, by what their tiers allow.

    Raises: SubjectError when all of them together are allowed too little.
    """
    rates: Mapping[str, float] = profile.traffic.rates
    rate = sum(rates.get(kind, 0.0) for kind in CHATS if kind not in left_out)
    if not rate:
        return ()
    if "admin_key" in run.target.secrets:
        source, tier = run.users(), profile.callers.tier
        users = [
            source.make(run.name("caller"), tier=tier, customer=None)
            for _ in range(profile.callers.users)
        ]
    else:
        users = list(run.target.users)
    found = callers([(user.key, float(TIERS[user.tier].requests)) for user in users])
    allowed = sum(one.weight for one in found) / WINDOW_S * SHARE_OF_LIMIT
    if rate * profile.traffic.peak > allowed:
        raise SubjectError(
            f"{len(found)} users may send {allowed:.1f} chats a second at half of their limits, "
            f"the profile needs {rate * profile.traffic.peak:.1f}"
        )
    return found


def _payers(run: RemoteRun, profile: Profile, left_out: set[str]) -> tuple[str, ...]:
    if "webhook" in left_out or not profile.traffic.rates.get("webhook"):
        return ()
    source = run.users()
    return templates(
        [
            source.make(run.name("payer"), tier="free", customer=f"cus_{run.tag}_{number}")
            for number in range(PAYERS)
        ]
    )


def _subject(
    run: RemoteRun,
    profile: Profile,
    made: tuple[Caller, ...],
    lacking: tuple[str, ...],
    needed: Spent,
    events: tuple[str, ...],
) -> Subject:
    target, drawn = run.target, _drawn(needed)
    allowed = target.budget.tokens - run.spent.tokens + drawn.tokens
    ratio = target.error_ratio

    def settle(requests: int, tokens: int) -> None:
        unused = Spent(requests=requests - drawn.requests, tokens=tokens - drawn.tokens)
        run.purse.correct(unused)

    return Subject(
        kind="remote",
        run_id=run.tag,
        base_url=target.base_url,
        callers=made,
        webhook_secret=target.secrets.get("stripe_webhook"),
        webhook_events=events,
        budget=Budget(
            requests=drawn.requests,
            tokens=_within_money(target, allowed),
            error_share=profile.stop_error_share if ratio is None else ratio,
            after_requests=profile.stop_after_requests,
        ),
        facts={
            "stack": "remote",
            "workers": str(target.workers),
            "users": f"{len(made)} users",
            "budget": target.budget.told(needed),
        },
        lacking=lacking,
        reason_to_end=lambda: _reason_to_end(run),
        settle=settle,
    )


def _reason_to_end(run: RemoteRun) -> str:
    """What the door would say to the next request, which the load does not pass one by one."""
    stop_file = stop_file_of(run.file)
    return f"the stop file {stop_file.name} is there" if stop_file.exists() else run.ended


def _within_money(target: TargetFile, tokens: int) -> int:
    """The tokens that may be used, by the money, too."""
    money, price = target.budget.money, target.budget.prices.per_1k_tokens
    return tokens if money is None or not price else min(tokens, int(money / price * 1000))
