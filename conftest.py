"""The import wall first, then the suite's plugin. Does no I/O on import."""

from __future__ import annotations

import gc

import pytest

from verification.harness.import_wall import build_import_wall

build_import_wall()
gc.disable()  # loading makes much and drops little

pytest_plugins = ["verification.harness.fixtures", "verification.harness.plugin"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Let the collector look after what tests make, never again at what was loaded for them."""
    gc.freeze()
    gc.enable()
