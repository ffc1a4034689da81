"""What a load run is aimed at: a service, who may call it, and what can be seen around it.

Two ways to get one: a stack of our own (own_stack) and a target file (staging). The runner
cannot otherwise tell which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from load.plan import Budget, Caller
from verification.contract.http import HEALTH
from verification.harness.http_client import Http

if TYPE_CHECKING:
    from load.cost import Reading
    from load.journals import JournalReader
    from verification.harness.faults import Faults

SEEN: Final = ("instance", "environment", "version")
"""What health says of the target that must be the same at the end."""


class SubjectError(Exception):
    """The target could not be had, or must not be used: nothing was sent to it."""


@dataclass(slots=True, kw_only=True)
class Subject:
    """A target of one run."""

    kind: str
    run_id: str
    base_url: str
    callers: tuple[Caller, ...]
    webhook_secret: str | None
    budget: Budget
    facts: Mapping[str, str] = field(default_factory=dict)
    """What it is, for the report: stack, versions, artefact."""
    webhook_events: tuple[str, ...] = ()
    """Templates of events, see payers.py."""
    journal: JournalReader | None = None
    faults: Faults | None = None
    lacking: tuple[str, ...] = ()
    """What cannot be sent here, and for want of what."""
    reason_to_end: Callable[[], str] = str
    """Why the run has to end now; empty while it may go on."""
    reading: Callable[[], Mapping[str, Reading]] = dict
    """What the target's processes have used so far, by name; {} where nobody can say."""
    settle: Callable[[int, int], None] = lambda _requests, _tokens: None
    """Told at the end what was really used."""

    def look(self) -> dict[str, str]:
        """What the target says of itself now; {} when it says nothing."""
        http = Http(self.base_url, trust_env=self.kind == "remote")
        try:
            body = http.get(HEALTH.path).json()
        finally:
            http.close()
        facts = body if isinstance(body, dict) else {}
        return {name: str(facts[name]) for name in SEEN if name in facts}
