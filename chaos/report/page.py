"""report.html."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.conclusion import Conclusion

FILE: Final = "report.html"


def write(conclusion: Conclusion, folder: Path) -> None:
    """Write the page."""
    (folder / FILE).write_text(conclusion.line, "utf-8")
