"""Every experiment as a test: a false one fails, an unknown one is an error, never a pass."""

from __future__ import annotations

import pytest

from chaos.campaign import Campaign
from chaos.catalogue import catalogue
from chaos.judgement import Word
from verification.harness.fixtures import Lender
from verification.verdict import UnknownVerdict

EXPERIMENTS = catalogue()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment(name: str, performed: tuple[Campaign, Lender]) -> None:
    campaign, lender = performed

    result = campaign.perform(name, EXPERIMENTS[name], lender)

    if result.word is Word.UNVERIFIED:
        pytest.skip(f"unverified: {result.why}")
    if result.word is Word.UNKNOWN:
        raise UnknownVerdict(f"{result.why} (belongs to the {result.owner})")
    assert result.word is Word.TRUE, f"{result.why} (belongs to the {result.owner})"
