"""What is judged: the wheel that was built or named, or an overlay of it, by fingerprint.

Reads what `nox -s verify` noted; builds nothing. Source: DESIGN section 2.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from verification.harness.stack.model import StackError
from verification.harness.stack.programs import ROOT

SERVICE_FILE: Final = ROOT / ".nox" / "service.json"
# What the noxfile's sessions put into the fingerprint of what they judged.
SESSION_SOURCES: Final = (
    "llmhive", "verification", "chaos", "load", "requirements",
    "conftest.py", "noxfile.py", "pyproject.toml",
)  # fmt: skip
SKIPPED: Final = frozenset({"__pycache__", ".hypothesis", ".pytest_cache"})


def digest(*paths: Path, root: Path = ROOT) -> str:
    """A fingerprint of files and folders, the same as the noxfile's: names and contents."""
    seen = hashlib.sha256()
    for path in sorted(_files(paths)):
        if path.is_file() and not SKIPPED & set(path.parts):
            name = path.relative_to(root) if path.is_relative_to(root) else path.name
            seen.update(f"{name}\0".encode())
            seen.update(path.read_bytes())
    return seen.hexdigest()[:16]


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        yield from [path] if path.is_file() else path.rglob("*")


def session_sources(root: Path = ROOT) -> str:
    """The fingerprint that a session's result must carry to be about these sources."""
    return digest(*(root / name for name in SESSION_SOURCES), root=root)


def service_sources(root: Path = ROOT, pins: str = "service") -> str:
    """The fingerprint of the service's sources and pins, as `nox -s verify` notes it."""
    package = [path for path in (root / "llmhive").iterdir() if path.name not in {"tests", "docs"}]
    pinned = root / "requirements" / f"{pins}.txt"
    return digest(*package, root / "pyproject.toml", pinned, root=root)


def describe() -> dict[str, Any]:
    """What is judged: `kind` (wheel, environment, overlay, unknown) with what names it."""
    overlay = os.environ.get("LLMHIVE_OVERLAY")
    python = os.environ.get("LLMHIVE_SERVICE_PYTHON")
    noted = _noted()
    if overlay:
        return {"kind": "overlay", "sources": digest(Path(overlay) / "llmhive")}
    if python:
        return {"kind": "environment"}
    if noted:
        kept = ("wheel", "digest", "sha256", "of")
        return {"kind": "wheel", **{name: noted[name] for name in kept if name in noted}}
    return {"kind": "unknown"}


def told() -> str:
    """What is judged, in words, and whether the sources have moved on since.

    Raises: StackError when nothing was built yet, with what to run.
    """
    found = describe()
    if found["kind"] == "unknown":
        raise StackError("no service was built yet: `nox -s verify` builds it")
    name = " ".join(str(found[key]) for key in ("kind", "wheel", "digest") if key in found)
    is_old = found.get("of") == "sources" and found["digest"] != service_sources()
    return f"{name} (older than the sources: `nox -s verify` builds it anew)" if is_old else name


def is_of_these_sources() -> bool:
    """Whether the judged wheel was built from the sources that lie here now."""
    described = describe()
    return described["kind"] == "wheel" and described.get("digest") == service_sources()


def _noted() -> dict[str, Any]:
    try:
        noted = json.loads(SERVICE_FILE.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}
