"""The evidence folder of one claim: kept always, so that a pass can be audited like a failure.

Layout: claim.json (what it says, its verdict), history.jsonl, requests.jsonl, service.log,
metrics.txt, redis.jsonl, journals, faults, and whatever the claim attached. Secrets are
masked by value when the folder is closed. Source: DESIGN section 6; STYLE section 6.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

# Readable in a table; the whole lines stand in the files.
TELLING_LINES: Final = 3
TELLING_LINE_MAX: Final = 300
TROUBLE: Final = re.compile(r'"(?:level|levelname)": ?"(?:error|critical|warning)"', re.IGNORECASE)


def folder_name(claim_id: str, case: str = "") -> str:
    """The folder of a claim, or of one case of it: `<claim id>` or `<claim id>/<case>`."""
    return f"{claim_id}/{re.sub(r'[^A-Za-z0-9._-]+', '-', case)}" if case else claim_id


class Evidence:
    """One claim's folder. Safe to write from several threads; made by the suite's plugin."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._secrets: dict[str, str] = {}
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def attach_json(self, name: str, value: object) -> Path:
        """Write a value as `<name>.json`; what JSON lacks is written as its repr."""
        text = json.dumps(value, indent=2, ensure_ascii=False, default=repr)
        return self.attach_text(f"{name.removesuffix('.json')}.json", text + "\n")

    def attach_text(self, name: str, text: str) -> Path:
        """Write a text under that file name, replacing what was there."""
        path = self._path(name)
        path.write_text(text, "utf-8")
        return path

    def append_line(self, name: str, value: object) -> Path:
        """Append a value as a line of JSON to `<name>.jsonl`."""
        path = self._path(f"{name.removesuffix('.jsonl')}.jsonl")
        line = json.dumps(value, ensure_ascii=False, default=repr)
        with self._lock, path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        return path

    def hide(self, secrets: Mapping[str, str]) -> None:
        """From now on these secrets (name -> value) are masked when the folder is closed."""
        self._secrets.update({value: name for name, value in secrets.items() if value})

    def masked(self, text: str) -> str:
        """The text without the secrets that are known so far."""
        for value, name in self._secrets.items():
            text = text.replace(value, f"<{name}>")
        return text

    def close(self) -> None:
        """Mask every known secret, by value, in every file of the folder."""
        if not self._secrets:
            return
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                self._mask(path)

    def _mask(self, path: Path) -> None:
        before = path.read_bytes()
        after = before
        for value, name in self._secrets.items():
            after = after.replace(value.encode(), f"<{name}>".encode())
        if after != before:
            path.write_bytes(after)

    def telling_lines(self) -> list[str]:
        """The lines to look at first: refused and failed requests, warnings and errors logged."""
        troubles = [
            f"{row['method']} {row['url']} -> {row['error'] or row['status']} {row['body']}"
            for row in self._rows("requests.jsonl")
            if row.get("error") or row.get("status", 0) >= 400  # noqa: PLR2004  HTTP's refusals
        ]
        log = self.folder / "service.log"
        lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
        troubles += [line for line in lines if TROUBLE.search(line)]
        return [line[:TELLING_LINE_MAX] for line in troubles[-TELLING_LINES:]]

    def _rows(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        text = path.read_text("utf-8", "replace") if path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def _path(self, name: str) -> Path:
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise ValueError(f"expected a file name inside the evidence folder, got {name!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
