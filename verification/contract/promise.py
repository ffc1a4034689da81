"""The shape of a promise. A leaf."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise: its stable id, in words, the items that it proves, where it stands.

    An item stands here only if holding this promise is enough to call the line verified; a
    promise that proves no line of the checklist names none.
    """

    id: str
    text: str
    items: tuple[str, ...]
    source: str


def promise(source: str, id: str, text: str, *items: str) -> Promise:  # noqa: A002  as the field
    """A promise, written in the order in which it is read: where, which, what, what for."""
    return Promise(id, text, items, source)
