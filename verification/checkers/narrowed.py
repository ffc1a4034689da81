"""A checker that looks at some operations of a kind only, such as those of one tier."""

from __future__ import annotations

from verification.history import History
from verification.verdict import Checker, Verdict


class Only:
    """The verdict of a checker on the operations `f` that have these fields, and on all others."""

    def __init__(self, checker: Checker, *, f: str = "chat", **fields: object) -> None:
        self._checker = checker
        self._f = f
        self._fields = fields

    def __call__(self, history: History) -> Verdict:
        """The verdict on the part of the history."""
        part = [
            one for one in history if one.f != self._f or self._fields.items() <= one.value.items()
        ]
        return self._checker(History(part))
