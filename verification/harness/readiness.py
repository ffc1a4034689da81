"""From claims to lines of the checklist, to the run's verdict, to the gate.

An item takes its worst claim; one that nobody can see from outside takes a dated
attestation. Attestations and waivers stand in readiness.toml, kept in git by the service's
owner. Pure but for reading that file. Source: DESIGN section 5, "Verdicts".
"""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from verification.contract.checklist import EvidenceKind, Item, Severity
from verification.harness import claim_verdict
from verification.harness.claim_results import ClaimResult
from verification.harness.claim_verdict import ClaimVerdict

NO_CLAIM: Final = "no_claim"
ATTESTATION: Final = "attestation"


class RunVerdict(StrEnum):
    """What a run says."""

    PASS = "pass"  # noqa: S105  a verdict
    FAIL = "fail"
    UNKNOWN = "unknown"

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 2 unknown."""
        return {RunVerdict.PASS: 0, RunVerdict.FAIL: 1, RunVerdict.UNKNOWN: 2}[self]


class ReadinessFileError(ValueError):
    """readiness.toml cannot be used; lists every problem at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """Somebody says, by name and for a time, that an item holds."""

    item: str
    by: str
    on: dt.date
    expires: dt.date
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """The owner goes without an item, with a reason and for a time."""

    item: str
    owner: str
    reason: str
    expires: dt.date


@dataclass(frozen=True, slots=True)
class Declarations:
    """What readiness.toml says, by item."""

    attestations: Mapping[str, Attestation] = field(default_factory=dict)
    waivers: Mapping[str, Waiver] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What a run says of one line of the checklist."""

    item: Item
    verdict: ClaimVerdict
    why: str
    claims: tuple[ClaimResult, ...] = ()
    attestation: Attestation | None = None
    waiver: Waiver | None = None

    @property
    def is_met(self) -> bool:
        """True, attested or waived: what the gate demands of a blocking item."""
        return self.verdict is ClaimVerdict.TRUE or self.waiver is not None


def read_declarations(path: Path, items: Mapping[str, Item]) -> Declarations:
    """What readiness.toml declares; a file that is missing declares nothing.

    Raises: ReadinessFileError with every problem: an unknown item, a missing field, a waiver
    of what cannot be waived, an attestation of what a claim has to show.
    """
    if not path.exists():
        return Declarations()
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ReadinessFileError(f"{path.name}: expected TOML: {exc}") from exc
    problems: list[str] = [f"unknown table {name}" for name in set(tables) - {"attest", "waive"}]
    attestations = [
        Attestation(**row) for row in _rows(tables, "attest", Attestation, items, problems)
    ]
    waivers = [Waiver(**row) for row in _rows(tables, "waive", Waiver, items, problems)]
    problems += [
        f"attest {one.item}: a claim has to show it, nobody's word"
        for one in attestations
        if items[one.item].evidence is not EvidenceKind.ATTESTATION
    ]
    problems += [
        f"waive {one.item}: billing, tenancy and leakage of secrets cannot be waived"
        for one in waivers
        if not items[one.item].can_be_waived
    ]
    if problems:
        raise ReadinessFileError("\n".join(f"{path.name}: {problem}" for problem in problems))
    return Declarations({one.item: one for one in attestations}, {one.item: one for one in waivers})


def _rows(
    tables: Mapping[str, Any],
    name: str,
    shape: type[Attestation | Waiver],
    items: Mapping[str, Item],
    problems: list[str],
) -> list[dict[str, Any]]:
    rows, fine = tables.get(name, []), []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        problems.append(f"expected tables [[{name}]], got {rows!r}")
        rows = []
    for number, row in enumerate(rows, 1):
        wrong = sorted(set(row) ^ set(shape.__slots__))
        dates = [field for field in ("on", "expires") if field in row]
        wrong += [f"{field} (a date)" for field in dates if not _is_date(row[field])]
        texts = sorted(set(row) - set(dates))
        wrong += [f"{field} (a text)" for field in texts if not isinstance(row[field], str)]
        if wrong:
            fields = ", ".join(shape.__slots__)
            problems.append(f"{name} {number}: expected {fields}; wrong: {', '.join(wrong)}")
        elif row["item"] not in items:
            problems.append(f"{name} {number}: no such item: {row['item']}")
        else:
            fine.append(row)
    return fine


def _is_date(value: object) -> bool:
    return isinstance(value, dt.date) and not isinstance(value, dt.datetime)


def judge_items(
    items: Iterable[Item],
    results: Sequence[ClaimResult],
    declared: Declarations,
    *,
    today: dt.date,
    narrowed: str = "",
) -> list[ItemResult]:
    """What the run says of each item.

    Takes: `narrowed`, how the run was narrowed to some claims; empty when all were collected.
    """
    by_item: dict[str, list[ClaimResult]] = {}
    for result in results:
        for item_id in result.facts.items:
            by_item.setdefault(item_id, []).append(result)
    return [
        _judge_item(item, by_item.get(item.id, []), declared, today, narrowed) for item in items
    ]


def _judge_item(
    item: Item,
    claims: list[ClaimResult],
    declared: Declarations,
    today: dt.date,
    narrowed: str,
) -> ItemResult:
    waiver = declared.waivers.get(item.id)
    if waiver and waiver.expires < today:
        waiver = None
    if item.evidence is EvidenceKind.ATTESTATION and not claims:
        attested = declared.attestations.get(item.id)
        verdict, why = _judge_attestation(attested, today)
        return ItemResult(item, verdict, why, (), attested, waiver)
    if not claims:
        why = f"{claim_verdict.NOT_SELECTED}: {narrowed}" if narrowed else NO_CLAIM
        return ItemResult(item, ClaimVerdict.UNVERIFIED, why, (), None, waiver)
    worst = min(claims, key=lambda claim: claim_verdict.RANK[claim.verdict])
    why = "" if worst.verdict is ClaimVerdict.TRUE else _why(worst)
    return ItemResult(item, worst.verdict, why, tuple(claims), None, waiver)


def _judge_attestation(attested: Attestation | None, today: dt.date) -> tuple[ClaimVerdict, str]:
    if attested is None:
        return ClaimVerdict.UNVERIFIED, f"{ATTESTATION}: nobody attests it"
    if attested.expires < today:
        return ClaimVerdict.UNVERIFIED, f"{ATTESTATION}: expired on {attested.expires}"
    if attested.on > today:
        return ClaimVerdict.UNVERIFIED, f"{ATTESTATION}: dated in the future, {attested.on}"
    return ClaimVerdict.TRUE, f"attested by {attested.by} on {attested.on}"


def _why(claim: ClaimResult) -> str:
    reason = f"{claim.reason}: " if claim.reason else ""
    first = claim.why.strip().split("\n")[0]
    return f"{claim.id}: {reason}{first}"


def judge_run(
    results: Sequence[ClaimResult], items: Sequence[ItemResult], *, gate: bool
) -> RunVerdict:
    """Fail if any claim is false, else unknown if any is unknown or nothing ran, else pass.

    With the gate every blocking item must also be met, and claims whose items are all waived
    are left out.
    """
    waived = {result.item.id for result in items if result.waiver} if gate else set()
    counted = [
        result
        for result in results
        if not (result.facts.items and set(result.facts.items) <= waived)
    ]
    verdicts = {result.verdict for result in counted}
    if ClaimVerdict.FALSE in verdicts:
        return RunVerdict.FAIL
    if ClaimVerdict.UNKNOWN in verdicts or ClaimVerdict.TRUE not in verdicts:
        return RunVerdict.UNKNOWN
    if gate and unmet_blocking(items):
        return RunVerdict.UNKNOWN
    return RunVerdict.PASS


def unmet_blocking(items: Sequence[ItemResult]) -> list[ItemResult]:
    """The blocking items that are neither true nor attested nor waived."""
    return [
        result
        for result in items
        if result.item.severity is Severity.BLOCKING and not result.is_met
    ]


def verified(items: Sequence[ItemResult]) -> int:
    """How many lines are verified: true, by claims or by a dated attestation."""
    return sum(result.verdict is ClaimVerdict.TRUE for result in items)


def headline(verdict: RunVerdict, items: Sequence[ItemResult], *, gate: bool) -> str:
    """One line: the verdict and how many lines were verified. Only the gate says ready."""
    said = str(verdict)
    if gate:
        said = {
            RunVerdict.PASS: "ready",
            RunVerdict.FAIL: "not ready (fail)",
            RunVerdict.UNKNOWN: "not shown to be ready (unknown)",
        }[verdict]
    return f"{said}: {verified(items)} of {len(items)} lines verified"
