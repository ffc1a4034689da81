"""`pytest chaos`: the experiments as tests in one campaign, with the reports of the command."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from chaos import stacks
from chaos.campaign import Campaign, in_order
from chaos.catalogue import catalogue
from chaos.command import REPORTS, judged_artefact
from chaos.conclusion import Answer, Conclusion
from chaos.report import page
from verification.harness.fixtures import Lender

CONCLUSION: Final = pytest.StashKey[Conclusion]()
UNKNOWN: Final = 2


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to run experiments beside each other: each would be the other's trouble."""
    if config.getoption("numprocesses", None) and not _is_selftest(config):
        raise pytest.UsageError("experiments run one after the other: expected no -n")


def _is_selftest(config: pytest.Config) -> bool:
    return all("selftest" in argument or "load" in argument for argument in config.args)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let experiments of one configuration follow each other, so that they share a stack."""
    order = {name: number for number, (name, _) in enumerate(in_order(catalogue()))}
    items.sort(key=lambda item: order.get(_name(item), -1))


def _name(item: pytest.Item) -> str:
    called = getattr(item, "callspec", None)
    return str(called.params.get("name", "")) if called else ""


@pytest.fixture(scope="session")
def performed(pytestconfig: pytest.Config) -> Iterator[tuple[Campaign, Lender]]:
    """The campaign of this session, and where it gets its stacks; concluded at the end."""
    target = pytestconfig.getoption("--target", default=None)
    file = Path(str(target)) if target else None
    campaign = Campaign(
        reports=REPORTS,
        seed=int(pytestconfig.getoption("randomly_seed", 0)),
        make_lender=lambda run_id: (
            stacks.elsewhere(file, catalogue())
            if file
            else stacks.local(str(pytestconfig.getoption("--stack")), run_id)
        ),
    )
    began = datetime.now(UTC)
    with campaign.prepared() as lender:
        yield campaign, lender
    conclusion = Conclusion(
        results=campaign.results,
        artefact=judged_artefact(file),
        stack=campaign.stack,
        seed=campaign.seed,
        began=began,
        ended=datetime.now(UTC),
        known=len(catalogue()),
        undone_first=[str(one) for one in campaign.undone_first],
    )
    conclusion.write(REPORTS)
    page.write(conclusion, REPORTS)
    pytestconfig.stash[CONCLUSION] = conclusion


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Unknown is 2 here, too."""
    conclusion = session.config.stash.get(CONCLUSION, None)
    if conclusion is not None and conclusion.answer is Answer.UNKNOWN:
        session.exitstatus = UNKNOWN


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: Any, config: pytest.Config
) -> Generator[None, None, None]:
    """Say, last of all, go or no go."""
    yield
    conclusion = config.stash.get(CONCLUSION, None)
    if conclusion is not None:
        terminalreporter.write_line(conclusion.line)
