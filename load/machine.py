"""On which machine a run was: numbers of two machines are never compared."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import Final

# Where systems keep the id of an installation; the first that is there.
IDS: Final = ("/etc/machine-id", "/var/lib/dbus/machine-id")
CPUINFO: Final = Path("/proc/cpuinfo")


def fingerprint() -> dict[str, str]:
    """What the machine is, and an id that no other shares; nothing that names its owner."""
    facts = {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
    }
    own = "\0".join([_installation(), facts["processor"], facts["cores"]])
    return {"id": hashlib.sha256(own.encode()).hexdigest()[:12], **facts}


def _installation() -> str:
    for name in IDS:
        if (path := Path(name)).is_file() and (text := path.read_text().strip()):
            return text
    return platform.node()


def _processor() -> str:
    if CPUINFO.exists():
        for line in CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
