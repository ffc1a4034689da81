"""Simulators as they run in a stack: processes of their own, scripted over their control."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from verification.harness.stack.simulators import TrioPool

if TYPE_CHECKING:
    from verification.harness.simulated import SimulatedProvider, SimulatedStripe
    from verification.harness.stack.simulators import Trio


@pytest.fixture(scope="session")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Trio:
    """Two providers and Stripe."""
    return TrioPool(tmp_path_factory.mktemp("simulators")).take()


@pytest.fixture
def openai(trio: Trio) -> SimulatedProvider:
    """OpenAI, healthy, nothing called yet."""
    return _cleared(trio.provider("openai", "sk-test"))


@pytest.fixture
def anthropic(trio: Trio) -> SimulatedProvider:
    """Anthropic, healthy, nothing called yet."""
    return _cleared(trio.provider("anthropic", "sk-ant-test"))


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest) -> SimulatedProvider:
    """One after the other."""
    found: SimulatedProvider = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def stripe(trio: Trio) -> SimulatedStripe:
    """Stripe, without objects."""
    found = trio.stripe("sk_test_x")
    found.clear()
    return found


def _cleared(simulator: SimulatedProvider) -> SimulatedProvider:
    simulator.clear()
    return simulator
