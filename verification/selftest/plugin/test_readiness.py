"""Lines of the checklist, the run's verdict and the gate; attestations and waivers."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from verification.contract import checklist
from verification.contract.checklist import EvidenceKind, Severity
from verification.harness import readiness
from verification.harness.claim_results import ClaimFacts, ClaimResult
from verification.harness.claim_verdict import ClaimVerdict
from verification.harness.readiness import (
    Attestation,
    Declarations,
    ItemResult,
    ReadinessFileError,
    RunVerdict,
    Waiver,
    judge_items,
    judge_run,
)

TODAY = dt.date(2026, 11, 24)
ITEMS = checklist.items()
ATTESTED = "predeploy.infra.dns"
WAIVED = "quotas.tavily.pro"


def claimed(verdict: str, *items: str, name: str = "a.b") -> ClaimResult:
    facts = ClaimFacts(
        nodeid=name,
        id=name,
        sentence="it holds",
        source="DESIGN",
        promises=(),
        items=items,
        file="f.py",
        line=1,
        evidence=name,
    )
    return ClaimResult(id=name, facts=facts, verdict=ClaimVerdict(verdict))


def judge(
    *results: ClaimResult, declared: Declarations | None = None, narrowed: str = ""
) -> dict[str, ItemResult]:
    found = judge_items(
        ITEMS.values(), results, declared or Declarations(), today=TODAY, narrowed=narrowed
    )
    return {result.item.id: result for result in found}


def attested(expires: dt.date, on: dt.date = TODAY) -> Declarations:
    one = Attestation(item=ATTESTED, by="Ada", on=on, expires=expires, evidence="dig")
    return Declarations({ATTESTED: one}, {})


def waived(item: str, expires: dt.date = TODAY) -> Declarations:
    one = Waiver(item=item, owner="Ada", reason="basic plan", expires=expires)
    return Declarations({}, {item: one})


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        (["true", "false", "unknown", "unverified"], "false"),
        (["true", "unverified", "unknown"], "unknown"),
        (["true", "unverified"], "unverified"),
        (["true", "true"], "true"),
    ],
)
def test_an_item_takes_its_worst_claim(verdicts: list[str], worst: str) -> None:
    results = [claimed(one, "metrics.memory", name=f"a.{one}") for one in verdicts]

    assert judge(*results)["metrics.memory"].verdict == worst


def test_an_item_without_a_claim_is_unverified_and_says_so() -> None:
    found = judge()["metrics.memory"]

    assert (found.verdict, found.why) == (ClaimVerdict.UNVERIFIED, "no_claim")


@pytest.mark.parametrize(
    ("declared", "verdict", "why"),
    [
        (Declarations(), "unverified", "attestation: nobody attests it"),
        (attested(TODAY), "true", "attested by Ada on 2026-11-24"),
        (
            attested(TODAY - dt.timedelta(1), on=dt.date(2026, 1, 1)),
            "unverified",
            "attestation: expired on 2026-11-23",
        ),
        (
            attested(dt.date(2027, 1, 1), on=TODAY + dt.timedelta(1)),
            "unverified",
            "attestation: dated in the future, 2026-11-25",
        ),
    ],
    ids=["none", "valid", "expired", "future"],
)
def test_an_attestation_holds_from_its_date_to_its_end(
    declared: Declarations, verdict: str, why: str
) -> None:
    found = judge(declared=declared)[ATTESTED]

    assert (found.verdict, found.why) == (verdict, why)


@pytest.mark.parametrize(
    ("verdicts", "run"),
    [
        ([], RunVerdict.UNKNOWN),
        (["true", "unverified"], RunVerdict.PASS),
        (["true", "unknown"], RunVerdict.UNKNOWN),
        (["unverified"], RunVerdict.UNKNOWN),
        (["unknown", "false"], RunVerdict.FAIL),
    ],
)
def test_the_runs_verdict_is_its_worst_claim(verdicts: list[str], run: RunVerdict) -> None:
    results = [claimed(one, name=f"a.{one}") for one in verdicts]

    assert judge_run(results, [], gate=False) is run


def everything_met(but: str = "") -> list[ClaimResult]:
    return [
        claimed("true", item.id, name=f"a.{item.id}")
        for item in ITEMS.values()
        if item.id != but and item.evidence is EvidenceKind.CLAIM
    ]


def gate(results: list[ClaimResult], declared: Declarations) -> RunVerdict:
    quarterly = "secrets.always.rotated-quarterly"
    one = Attestation(item=quarterly, by="A", on=TODAY, expires=TODAY, evidence="e")
    both = Declarations(
        {**attested(TODAY).attestations, quarterly: one, **declared.attestations}, declared.waivers
    )
    items = list(judge(*results, declared=both).values())
    return judge_run(results, items, gate=True)


def test_the_gate_passes_when_every_blocking_line_is_met() -> None:
    assert gate(everything_met(), Declarations()) is RunVerdict.PASS


def test_the_gate_is_unknown_when_one_blocking_line_is_not() -> None:
    assert gate(everything_met(but=WAIVED), Declarations()) is RunVerdict.UNKNOWN


def test_the_gate_lets_an_advisory_line_go() -> None:
    advisory = next(
        item.id for item in ITEMS.values()
        if item.severity is Severity.ADVISORY and item.evidence is EvidenceKind.CLAIM
    )  # fmt: skip

    assert gate(everything_met(but=advisory), Declarations()) is RunVerdict.PASS


def test_a_waiver_stands_for_its_line_until_it_expires() -> None:
    yesterday = TODAY - dt.timedelta(1)

    assert gate(everything_met(but=WAIVED), waived(WAIVED)) is RunVerdict.PASS
    assert gate(everything_met(but=WAIVED), waived(WAIVED, yesterday)) is RunVerdict.UNKNOWN


def test_a_waived_lines_claims_are_left_out_of_the_gate() -> None:
    results = [*everything_met(but=WAIVED), claimed("false", WAIVED, name="a.waived")]

    assert gate(results, waived(WAIVED)) is RunVerdict.PASS
    assert judge_run(results, [], gate=False) is RunVerdict.FAIL


def test_only_the_gate_says_ready() -> None:
    items = list(judge().values())

    assert readiness.headline(RunVerdict.PASS, items, gate=False) == "pass: 0 of 130 lines verified"
    assert readiness.headline(RunVerdict.PASS, items, gate=True) == "ready: 0 of 130 lines verified"


GOOD = """
[[attest]]
item = "predeploy.infra.dns"
by = "Ada"
on = 2026-11-02
expires = 2027-02-02
evidence = "dig"
[[waive]]
item = "quotas.tavily.pro"
owner = "Ada"
reason = "basic plan"
expires = 2027-02-02
"""


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('"predeploy.infra.dns"', '"predeploy.infra.dnz"', "no such item: predeploy.infra.dnz"),
        ('"predeploy.infra.dns"', '"metrics.memory"', "a claim has to show it"),
        ('"quotas.tavily.pro"', '"stripe.events.invoice-paid"', "cannot be waived"),
        ('"quotas.tavily.pro"', '"secrets.never.logged"', "cannot be waived"),
        ("on = 2026-11-02\n", "", "wrong: on"),
        ("on = 2026-11-02", 'on = "yesterday"', r"on \(a date\)"),
        ("[[waive]]", "[[excuse]]", "unknown table excuse"),
        ("[[waive]]", "[[waive]", "expected TOML"),
        ("[[waive]]", "[waive]", r"expected tables \[\[waive\]\]"),
        ('"quotas.tavily.pro"', '["quotas.tavily.pro"]', r"item \(a text\)"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(
    tmp_path: Path, before: str, after: str, problem: str
) -> None:
    file = tmp_path / "readiness.toml"
    file.write_text(GOOD.replace(before, after, 1))

    with pytest.raises(ReadinessFileError, match=problem):
        readiness.read_declarations(file, ITEMS)


def test_good_declarations_are_read(tmp_path: Path) -> None:
    file = tmp_path / "readiness.toml"
    file.write_text(GOOD)

    declared = readiness.read_declarations(file, ITEMS)

    assert (list(declared.attestations), list(declared.waivers)) == ([ATTESTED], [WAIVED])


def test_the_projects_own_file_is_read_and_declares_nothing() -> None:
    file = Path(__file__).parents[3] / "readiness.toml"

    assert readiness.read_declarations(file, ITEMS) == Declarations()
