"""The database's changes in order, run by `llmhive migrate`. Imports nothing."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def newest() -> str:
    """The revision that this version of the service needs; files begin with it."""
    files = (FOLDER / "versions").glob("[0-9]*.py")
    return max((file.name.partition("_")[0] for file in files), default="")
