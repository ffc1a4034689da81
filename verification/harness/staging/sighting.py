"""What stands at a target's URL, seen by one GET of health: ours, another's, nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from verification.harness.http_client import Http

if TYPE_CHECKING:
    from verification.harness.target_file import TargetFile

# Health never waits for a dependency; a network and a cold start may.
LOOK_WITHIN_S: Final = 10.0


class Seen(StrEnum):
    """What stands at the URL."""

    OURS = "ours"
    OTHER_INSTANCE = "other_instance"
    FOREIGN = "foreign"
    SILENT = "silent"


EXIT_CODES: Final = {Seen.OURS: 0, Seen.FOREIGN: 1, Seen.SILENT: 2, Seen.OTHER_INSTANCE: 3}


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one GET of health met, in a sentence; `version` is what our service says it is."""

    seen: Seen
    says: str
    version: str = ""

    @property
    def exit_code(self) -> int:
        """0 ours, 1 foreign, 2 silent, 3 the pin differs."""
        return EXIT_CODES[self.seen]

    @property
    def foreign(self) -> str:
        """What answers instead of our target; empty when it is ours."""
        return "" if self.seen is Seen.OURS else self.says


def look(target: TargetFile) -> Sighting:
    """See by one GET whether the service that the file names answers there."""
    http = Http(target.base_url, trust_env=True)
    try:
        answer = http.get("/api/health", timeout_s=LOOK_WITHIN_S)
    finally:
        http.close()
    if not answer.status:
        return Sighting(Seen.SILENT, f"no answer within {LOOK_WITHIN_S:g} s ({answer.error})")
    health = answer.json()
    if not isinstance(health, dict) or "instance" not in health or "components" not in health:
        return Sighting(
            Seen.FOREIGN, f"something answers {answer.status}, but not with this service's health"
        )
    pin = (target.environment, target.instance)
    found = (health.get("environment"), health["instance"])
    if found != pin:
        return Sighting(
            Seen.OTHER_INSTANCE,
            f"expected environment and instance {pin}, got {found}: nothing was sent",
        )
    says = f"{target.instance} ({target.environment}) answers {answer.status}"
    return Sighting(Seen.OURS, says, str(health.get("version", "")))
