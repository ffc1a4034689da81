"""The command behind `nox -s chaos`: breaks things on purpose, and says what it cost.

Exit codes: 0 go, 1 no go, 2 unknown (also when no experiment was performed), 3 could not run.
"""

from __future__ import annotations

import sys

from verification.harness.import_wall import build_import_wall

build_import_wall()

from chaos.command import main  # noqa: E402  behind the wall

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
