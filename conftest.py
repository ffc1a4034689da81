"""The suite's front door: puts up the import wall before anything else is imported."""

from __future__ import annotations

from verification.harness.import_wall import build_import_wall

build_import_wall()
