"""Why a run against a target elsewhere may not begin. A leaf of the staging modules."""

from __future__ import annotations

from verification.harness.stack.model import StackError


class RefusedError(StackError):
    """The run may not begin; nothing was sent but what it took to see that. Exit code 3."""
