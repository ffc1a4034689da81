"""A service elsewhere, and what the references of its target file refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from verification.selftest.target_file.elsewhere import ADMIN_KEY, Elsewhere, elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the references refer to."""
    monkeypatch.setenv("VFY_KEY", "the-key")
    monkeypatch.setenv("VFY_ADMIN", ADMIN_KEY)
    monkeypatch.setenv("VFY_TOKEN", "the-token")
    monkeypatch.setenv("VFY_LIVE", "sk_live_abcdef")
    monkeypatch.setenv("VFY_EMPTY", "")
    monkeypatch.setenv("VFY_REDIS", "redis://:password@redis.example:6379/0")


@pytest.fixture
def staging() -> Iterator[Elsewhere]:
    """A service that somebody else started."""
    with elsewhere() as service:
        yield service
