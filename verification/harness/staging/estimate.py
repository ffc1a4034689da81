"""What a verification will probably use: by what its claims used last time on this machine.

Each claim's evidence holds what it sent. A claim of which nothing was kept is taken for an
average one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from verification.harness.evidence import folder_name
from verification.harness.run_options import REPORTS
from verification.harness.staging.budget import Spent
from verification.harness.staging.gate import CHAT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from verification.harness.claims import Claim
    from verification.harness.staging.budget import Budget

# Seen over the suite's claims on its own stacks: two thirds of the requests ask a provider.
REQUESTS_GUESSED: Final = 30
CHATS_GUESSED: Final = 20
# To make a user, per claim that wants one, and to reach every worker.
BESIDE: Final = 10


def estimate_of(
    claims: Iterable[Claim], budget: Budget, *, evidence: Path = REPORTS / "evidence"
) -> Spent:
    """What these claims will use together."""
    together = Spent()
    for claim in claims:
        requests, chats = _known(evidence / folder_name(claim.id, ""))
        together += budget.estimate(requests=requests + BESIDE, chats=chats)
    return together


def _known(folder: Path) -> tuple[int, int]:
    """Requests and chats that a claim's evidence holds, over all of its cases."""
    files = list(folder.rglob("requests.jsonl"))
    if not files:
        return REQUESTS_GUESSED, CHATS_GUESSED
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    sent = [json.loads(line) for line in lines]
    chats = [one for one in sent if one["method"] == "POST" and one["url"].endswith(CHAT)]
    return len(sent), len(chats)
