"""What a run of load tells CI: a summary in Markdown, and a remark for each target not held."""

from __future__ import annotations

from load.gate import Judged
from load.results import Results, is_bad, word
from verification.harness.claim_verdict import ClaimVerdict
from verification.harness.github import Annotation


def summary(found: Results) -> str:
    """The headline, and a row for each target."""
    rows = [
        f"| `{one.target.id}` | {word(one)} | {_cell(_why(one))} |"
        for one in found.judgement.judged
    ]
    rows += [
        f"| {_cell(one.verdict.claim)} | {one.verdict.word} | {_cell(one.verdict.first or '')} |"
        for one in found.compared
    ]
    head = [f"## load: {found.headline}", "", "| Target | | Why |", "|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n\n"


def remarks(found: Results) -> list[Annotation]:
    """An error for each target missed and each comparison lost, a warning for what is unknown."""
    targets = [
        Annotation(
            level="error" if word(one) is ClaimVerdict.FALSE else "warning",
            title=f"load: {one.target.id}",
            message=_why(one),
        )
        for one in found.judgement.judged
        if is_bad(one)
    ]
    compared = [
        Annotation(
            level="error" if one.verdict.valid is False else "warning",
            title=f"load: {one.verdict.claim}",
            message=one.verdict.first or "",
        )
        for one in found.compared
        if not one.verdict.valid
    ]
    return targets + compared


def _why(one: Judged) -> str:
    return f"for want of {one.unverified}" if one.unverified else one.verdict.first or ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
