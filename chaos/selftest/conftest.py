"""An undo file for tests that perform nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from verification.harness.undo import UndoLog


@pytest.fixture
def log(tmp_path: Path) -> Iterator[UndoLog]:
    """The undo file of a run that lives."""
    made = UndoLog(tmp_path / "undo", "living")
    yield made
    made.close()
