"""Users as an operator handles them: made with a tag, counted by it, deleted with everything.

A tag marks what a run of the suite made, so that it can be found and removed again. Deleting
begins in the database, in one transaction: from then on no key of theirs opens anything.
May not import adapters. Source: DESIGN.md, sections 3.1 and 3.8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from llmhive.app.errors import CallerError, CapacityError, DependencyError

# One transaction that nobody else waits for long; whoever has more calls again.
DELETED_AT_ONCE: Final = 500
LISTED_AT_ONCE: Final = 500
# A tag stands in log lines and addresses, so it is a word.
TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A user as operators see them."""

    user_id: str
    tier: str
    entitled_tier: str
    stripe_customer: str | None
    tag: str | None
    keys: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the users of a tag, and how many there are in all."""

    users: Sequence[UserRecord]
    total: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """Who was deleted, the rows that were theirs by table, and how many are left of the tag."""

    users: Sequence[str]
    rows: Mapping[str, int]
    left: int = 0


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion in the database and beside it; `traces` is None where they were out of reach.

    Traces out of reach end by themselves: they all have a time to live.
    """

    deleted: Deleted
    traces: int | None


class UserStore(Protocol):
    """Users in the database. All methods raise DependencyError."""

    async def tagged(self, tag: str, at_most: int) -> Page:
        """Users of a tag, in the order of their ids."""

    async def tags(self, prefix: str, at_most: int) -> Mapping[str, int]:
        """Tags that begin so, and how many users each has."""

    async def delete(self, user_id: str) -> Deleted:
        """Delete a user with every row that is theirs; nobody is deleted when there is none."""

    async def delete_tagged(self, tag: str, at_most: int) -> Deleted:
        """Delete so many users of a tag with every row that is theirs."""


class UserTraces(Protocol):
    """What is kept of users beside the database."""

    async def forget(self, users: Sequence[str]) -> int:
        """Delete it and give how much there was. Raises DependencyError, CapacityError."""


class UserAdministration:
    """The operator's side of users."""

    def __init__(self, store: UserStore, traces: UserTraces | None = None) -> None:
        self._store = store
        self._traces = traces

    async def tagged(self, tag: str) -> Page:
        """Users of a tag, the first LISTED_AT_ONCE of them.

        Raises: CallerError (definite), DependencyError.
        """
        return await self._store.tagged(checked_tag(tag), LISTED_AT_ONCE)

    async def tags(self, prefix: str) -> Mapping[str, int]:
        """Tags that begin so and their users' number, the first LISTED_AT_ONCE of them.

        Raises: CallerError (definite), DependencyError.
        """
        return await self._store.tags(checked_tag(prefix), LISTED_AT_ONCE)

    async def delete(self, user_id: str) -> Deletion:
        """Delete a user and everything that is theirs.

        Raises: CallerError (404, definite) when there is no such user; DependencyError.
        """
        deleted = await self._store.delete(user_id)
        if not deleted.users:
            raise CallerError("There is no such user.", code="not_found", http_status=404)
        return await self._forgotten(deleted)

    async def delete_tagged(self, tag: str) -> Deletion:
        """Delete up to DELETED_AT_ONCE users of a tag; call again while some are left.

        Raises: CallerError (definite), DependencyError.
        """
        deleted = await self._store.delete_tagged(checked_tag(tag), DELETED_AT_ONCE)
        return await self._forgotten(deleted)

    async def _forgotten(self, deleted: Deleted) -> Deletion:
        if self._traces is None or not deleted.users:
            return Deletion(deleted, 0)
        try:
            return Deletion(deleted, await self._traces.forget(deleted.users))
        except (DependencyError, CapacityError):
            return Deletion(deleted, None)


def checked_tag(tag: str) -> str:
    """The tag, if it is one.

    Raises: CallerError (422, definite).
    """
    if not TAG.fullmatch(tag):
        raise CallerError(
            "A tag has 1 to 64 letters, digits, dots, dashes and underscores.",
            code="invalid_request",
            http_status=422,
        )
    return tag
