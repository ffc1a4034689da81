"""Options of a command behind a session: what is wrong with them is one line, and exit code 3.

argparse itself ends with 2, which here would say that the verdict is unknown.
"""

from __future__ import annotations

import argparse
import sys
from typing import Final, NoReturn

COULD_NOT_RUN: Final = 3


class CommandLine(argparse.ArgumentParser):
    """A parser whose errors end with "could not run"."""

    def error(self, message: str) -> NoReturn:
        """Say what was expected, and end with 3."""
        sys.stderr.write(f"could not run: {message}\n")
        sys.exit(COULD_NOT_RUN)
