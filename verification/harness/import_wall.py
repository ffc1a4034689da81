"""The wall between the suite and the service, as an import finder.

The folder `llmhive/` stands in the repository's root, so Python would import it from
there. A suite that can import what it judges is no second witness. Imports nothing.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

SERVICE_PACKAGE = "llmhive"


class ImportWall(MetaPathFinder):
    """Refuses to find the service's package, whoever asks and wherever it stands."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse the service's package by ImportError; leave everything else to others."""
        del path, target
        if fullname.partition(".")[0] == SERVICE_PACKAGE:
            raise ImportError(
                f"the suite may not import {fullname!r}: it judges the service from outside, "
                "by HTTP, Redis, metrics and logs. White-box tests live in llmhive/tests.",
                name=fullname,
            )
        return None


def build_import_wall() -> None:
    """Put the wall up, once; a process that has imported the service is refused."""
    if SERVICE_PACKAGE in sys.modules:
        raise ImportError(
            f"the suite may not run in a process that has imported {SERVICE_PACKAGE!r}"
        )
    if not any(isinstance(finder, ImportWall) for finder in sys.meta_path):
        sys.meta_path.insert(0, ImportWall())
