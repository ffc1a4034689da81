"""pip-audit over every file of pins, with an honest answer when no database answers.

`pip-audit` ends 0 when it could audit nothing. Here each package is audited, vulnerable
or unknown; vulnerable ends 1, unknown is said aloud and ends 0. Imports nothing of ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Audit:
    """What one run of pip-audit said: names by their answer."""

    audited: list[str]
    unknown: list[str]
    vulnerable: list[str]


def read_audit(answer: str) -> Audit:
    """Sort pip-audit's JSON (`dependencies: [{name, version, vulns | skip_reason}]`) by answer."""
    rows = json.loads(answer).get("dependencies", []) if answer.strip() else []
    return Audit(
        audited=[row["name"] for row in rows if "skip_reason" not in row],
        unknown=[row["name"] for row in rows if "skip_reason" in row],
        vulnerable=[
            f"{row['name']} {row['version']}: {', '.join(each['id'] for each in row['vulns'])}"
            for row in rows
            if row.get("vulns")
        ],
    )


def audit_pins(pins: Path) -> Audit:
    """Ask pip-audit about one file of pins; an answer that is no JSON audits nothing."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    command += ["--no-deps", "--disable-pip", "-r", str(pins)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return read_audit(run.stdout)
    except json.JSONDecodeError:
        return Audit([], [], [])


def main(folder: Path) -> int:
    """Audit every file of pins in `folder`; 1 when any package has a known vulnerability."""
    vulnerable = False
    for pins in sorted(folder.glob("*.txt")):
        audit = audit_pins(pins)
        known, unknown = len(audit.audited), len(audit.unknown)
        word = "unknown" if not known else "vulnerable" if audit.vulnerable else "clean"
        sys.stdout.write(f"{pins.name}: {word}; {known} audited, {unknown} not audited\n")
        sys.stdout.writelines(f"  {line}\n" for line in audit.vulnerable)
        vulnerable = vulnerable or bool(audit.vulnerable)
    return int(vulnerable)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
