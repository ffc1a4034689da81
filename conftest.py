"""The import wall first, then the suite's plugin. Does no I/O on import."""

from __future__ import annotations

from verification.harness.import_wall import build_import_wall

build_import_wall()

pytest_plugins = ["verification.harness.fixtures", "verification.harness.plugin"]
