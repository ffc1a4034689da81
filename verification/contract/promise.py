"""The shape of a promise. A leaf."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise: its stable id, in words, the checklist items it serves, where it stands."""

    id: str
    text: str
    items: tuple[str, ...]
    source: str


def promise(source: str, id: str, text: str, *items: str) -> Promise:  # noqa: A002  as the field
    """A promise, written in the order in which it is read: where, which, what, what for."""
    return Promise(id, text, items, source)
