"""A stack of our own to load: the service at its default scale, its providers simulated.

Claims shrink time-outs to be quick; a load run must not, or it would judge other promises. So
everything that the suite shrinks stands at the service's default again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from load import cost
from load.journals import JournalReader
from load.payers import PAYERS, templates
from load.plan import Budget, callers
from load.profile_file import Profile
from load.subject import Subject
from verification.contract.tiers import TIERS
from verification.harness import artefact
from verification.harness.stack import choice, defaults
from verification.harness.stack.configuration import configuration
from verification.harness.stack.local import LiveStack, LocalStacks

# Kept as the suite has them: migrations at the start, a quick stop.
KEPT: Final = frozenset({"LLMHIVE_ENVIRONMENT", "DRAIN_SECONDS", "SHUTDOWN_GRACE_S"})


@contextmanager
def own_stack(profile: Profile, asked: str) -> Iterator[Subject]:
    """A stack for one run, ended with the context.

    Raises: StackError when none can be had.
    """
    backend = choice.choose(asked)
    stacks = LocalStacks(backend, run_id=secrets.token_hex(4), worker="load")
    try:
        default_scale = {name: None for name in defaults.SHRUNK if name not in KEPT}
        live = stacks.build(configuration(default_scale, profile.stack.workers))
        yield _subject(profile, live)
        stacks.end(live)
    finally:
        stacks.close()


def _subject(profile: Profile, live: LiveStack) -> Subject:
    stack, wanted = live.stack, profile.stack
    chunks = [f"part {number} " for number in range(max(1, wanted.provider_chunks))]
    for provider in stack.providers.values():
        provider.reply(
            chunks=chunks,
            delay_s=wanted.provider_first_token_s,
            chunk_delay_s=wanted.provider_chunk_s,
        )
    run_id = f"vfy-{stack.run_id}"
    users = [
        live.service.make(f"{run_id}-caller-{number}", tier=profile.callers.tier, customer=None)
        for number in range(profile.callers.users)
    ]
    payers = [
        live.service.make(
            f"{run_id}-payer-{number}", tier="free", customer=f"cus_{run_id}_{number}"
        )
        for number in range(PAYERS if profile.traffic.rates.get("webhook") else 0)
    ]
    share = float(TIERS[profile.callers.tier].requests)
    judged = {name: str(value) for name, value in artefact.describe().items()}
    return Subject(
        kind=stack.kind,
        run_id=run_id,
        base_url=stack.base_url,
        callers=callers([(user.key, share) for user in users]),
        webhook_secret=stack.webhook_secret,
        webhook_events=templates(payers),
        budget=Budget(
            error_share=profile.stop_error_share, after_requests=profile.stop_after_requests
        ),
        facts={
            "stack": stack.kind,
            "workers": str(stack.worker_count),
            "users": f"{len(users)} of tier {profile.callers.tier}",
            **{f"artefact {name}": text for name, text in judged.items()},
            **stack.versions,
        },
        journal=JournalReader(
            tuple(provider.control_url for provider in stack.providers.values()), run_id
        ),
        faults=stack.faults,
        reading=lambda: _reading(live),
    )


def _reading(live: LiveStack) -> dict[str, cost.Reading]:
    redis = live.redis.child
    found = {
        "service": cost.of_session(live.service.pid),
        "redis": cost.of_process(redis.pid) if redis else None,
    }
    return {name: one for name, one in found.items() if one is not None}
