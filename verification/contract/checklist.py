"""The checklist's lines as items, read from checklist.toml. Source: the Stage 4 checklist."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("checklist.toml")


class Severity(StrEnum):
    """Whether a deployment has to wait for it."""

    BLOCKING = "blocking"
    ADVISORY = "advisory"


class EvidenceKind(StrEnum):
    """Who can say that it holds: claims, or a person with name and date."""

    CLAIM = "claim"
    ATTESTATION = "attestation"


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the checklist."""

    id: str
    section: str
    severity: Severity
    evidence: EvidenceKind
    text: str

    @property
    def can_be_waived(self) -> bool:
        """False for billing, tenancy and leakage of secrets."""
        return not self.id.startswith(NEVER_WAIVED)


# Billing, tenancy and secret leakage cannot be waived (DESIGN section 5).
NEVER_WAIVED: Final = (
    "env.stripe.",
    "stripe.",
    "secrets.never.",
    "security.auth.key-on-every-endpoint",
    "security.data.no-secrets-in-errors",
    "security.data.no-pii-in-logs",
    "predeploy.integration.stripe-webhook-verified",
    "rollback.webhooks-resume",
    "alerts.webhook-failures",
)


@cache
def items() -> dict[str, Item]:
    """Every item by id, in the checklist's order."""
    rows = tomllib.loads(FILE.read_text("utf-8"))["item"]
    read = [
        Item(
            id=row["id"],
            section=row["section"],
            severity=Severity(row["severity"]),
            evidence=EvidenceKind(row["evidence"]),
            text=row["text"],
        )
        for row in rows
    ]
    return {item.id: item for item in read}
