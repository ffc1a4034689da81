"""Which claims a target elsewhere could be asked, and which lines of the checklist they decide.

From what claims state as needs and what a target file says of its target: nothing is run.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from verification.contract import checklist
from verification.contract.checklist import EvidenceKind
from verification.harness import claims
from verification.harness.claims import Claim
from verification.harness.run_options import SUITES
from verification.harness.stack.configuration import configuration
from verification.harness.stack.model import StackError
from verification.harness.stack.remote import unmet

if TYPE_CHECKING:
    from collections.abc import Sequence

# Claims that cannot be read leave the survey without them, so it says so instead.
COLLECTED: Final = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
# This process has imported what pytest would rewrite, which matters only where tests run.
ALREADY: Final = ("-W", "ignore::pytest.PytestAssertRewriteWarning")


@dataclass(frozen=True, slots=True)
class Survey:
    """Claims that can be asked, what the others lack, and the lines that follow."""

    askable: tuple[Claim, ...]
    lacking: dict[str, tuple[str, ...]]
    """Claim's id -> what the target lacks for it."""
    items: tuple[str, ...]
    """Lines of the checklist all of whose claims can be asked."""
    partly: tuple[str, ...]
    """Lines some of whose claims can be asked: a broken one would show, a kept one would not."""
    of: int
    """Lines of the checklist that claims decide."""

    def wants(self) -> list[tuple[str, int]]:
        """What is lacked, and by how many claims, the most wanted first."""
        kinds = ({want.partition(" ")[0] for want in wants} for wants in self.lacking.values())
        counted = Counter(kind for some in kinds for kind in some)
        return sorted(counted.items(), key=lambda want: (-want[1], want[0]))


class _Collector:
    """Takes the claims out of a collection."""

    def __init__(self) -> None:
        self.found: list[Claim] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Keep the claims that a plain run would run."""
        found = (claims.claim_of(item) for item in session.items)
        self.found = [claim for claim in found if claim is not None]


def all_claims() -> list[Claim]:
    """Every claim of a plain run, by collecting the suite without running it.

    Raises: StackError when it cannot be collected.
    """
    collector = _Collector()
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as reports, contextlib.redirect_stdout(said):
        options = ["--collect-only", "-q", "-p", "no:cacheprovider", f"--reports={reports}"]
        code = pytest.main([*options, *ALREADY, str(SUITES)], plugins=[collector])
    if code not in COLLECTED:
        raise StackError(f"the claims cannot be read:\n{said.getvalue()[-2000:]}")
    return collector.found


def survey(found: Sequence[Claim], capabilities: frozenset[str], workers: int) -> Survey:
    """Sort claims by what a target can do."""
    by_id = {claim.id: claim for claim in found}
    lacking = {}
    for claim in by_id.values():
        missing = sorted(set(claim.needs) - capabilities)
        wants = [*missing, *unmet(configuration(claim.env, claim.workers), workers)]
        if wants:
            lacking[claim.id] = tuple(wants)
    askable = tuple(claim for claim in by_id.values() if claim.id not in lacking)
    undecided = {item for name in lacking for item in by_id[name].items}
    decided = {item for claim in askable for item in claim.items}
    every = [item.id for item in checklist.items().values() if item.evidence is EvidenceKind.CLAIM]
    return Survey(
        askable=askable,
        lacking=lacking,
        items=tuple(item for item in every if item in decided - undecided),
        partly=tuple(item for item in every if item in decided & undecided),
        of=len(every),
    )
