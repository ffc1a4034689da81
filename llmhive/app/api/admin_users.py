"""Users for operators: made with a tag and a first key, listed by tag, deleted with everything.

Source: DESIGN.md, section 3.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import Field

from llmhive.app.accounts.administration import TAG, Deletion, UserAdministration, UserRecord
from llmhive.app.accounts.issuing import USER_ID_LENGTH_MAX, KeyIssuing
from llmhive.app.accounts.model import Scope
from llmhive.app.api.admin import Body, admin_router, concerns
from llmhive.app.errors import CallerError

router = admin_router("/users")
tags_router = admin_router("/tags")

# The longest-lived key that a route makes; operators' commands know no such bound.
EXPIRES_IN_S_MAX = 366 * 86_400
Tag = Annotated[str, Field(pattern=f"^{TAG.pattern}$")]


class NewUser(Body):
    """A user to be made, with a first key."""

    user: Annotated[str, Field(min_length=1, max_length=USER_ID_LENGTH_MAX)]
    tier: Annotated[str, Field(max_length=32)] = "free"
    stripe_customer: Annotated[str, Field(pattern=r"^cus_[A-Za-z0-9_-]{1,250}$")] | None = None
    tag: Tag | None = None
    scopes: Annotated[list[str], Field(min_length=1, max_length=len(Scope))] = Field(
        default_factory=lambda: [Scope.CHAT.value]
    )
    expires_in_s: Annotated[int, Field(ge=1, le=EXPIRES_IN_S_MAX)] | None = None


@router.post("", status_code=201, summary="Make a user with a first key, shown this once")
async def create_user(request: Request, asked: NewUser) -> dict[str, Any]:
    """Make a user of that tier, tied to that customer, found again by that tag."""
    concerns(request, user=asked.user, tag=asked.tag or "", tier=asked.tier)
    state = request.app.state
    _refuse_unknown("tier", [asked.tier], state.tiers)
    _refuse_unknown("scopes", asked.scopes, list(Scope))
    issuing: KeyIssuing = state.issuing
    made = await asyncio.to_thread(
        issuing.create,
        asked.user,
        tier=asked.tier,
        stripe_customer=asked.stripe_customer,
        scopes=frozenset(asked.scopes),
        expires_in_s=asked.expires_in_s,
        tag=asked.tag,
        is_first=True,
    )
    return {
        "user": made.record.user_id,
        "tier": made.record.granted_tier,
        "stripe_customer": made.record.stripe_customer,
        "tag": asked.tag,
        "key": made.key,
        "key_id": made.record.key_id,
        "scopes": sorted(made.record.scopes),
        "expires_at": made.record.expires_at,
    }


@router.get("", summary="The users of a tag")
async def list_users(request: Request, tag: Annotated[str, Query(max_length=64)]) -> dict[str, Any]:
    """Give the first users of a tag, and how many there are."""
    concerns(request, tag=tag)
    page = await _administration(request).tagged(tag)
    return {"tag": tag, "total": page.total, "users": [_shown(user) for user in page.users]}


@tags_router.get("", summary="Tags that begin so, and how many users each has")
async def list_tags(
    request: Request, prefix: Annotated[str, Query(max_length=64)]
) -> dict[str, Any]:
    """Give the tags of runs, for whoever cleans up after them."""
    concerns(request, prefix=prefix)
    found = await _administration(request).tags(prefix)
    return {"tags": [{"tag": tag, "users": count} for tag, count in found.items()]}


@router.delete("", summary="Delete the users of a tag, with everything that is theirs")
async def delete_tagged_users(
    request: Request, tag: Annotated[str, Query(max_length=64)]
) -> dict[str, Any]:
    """Delete some hundreds at once; call again while some are `left`."""
    concerns(request, tag=tag)
    done = await _administration(request).delete_tagged(tag)
    return {"tag": tag, **_told(done)}


@router.delete("/{user:path}", summary="Delete a user, with everything that is theirs")
async def delete_user(request: Request, user: str) -> dict[str, Any]:
    """Delete keys, overrides, billing rows and what Redis holds of one user."""
    concerns(request, user=user)
    return _told(await _administration(request).delete(user))


def _administration(request: Request) -> UserAdministration:
    administration: UserAdministration = request.app.state.administration
    return administration


def _refuse_unknown(field: str, given: list[str], known: list[str] | Mapping[str, Any]) -> None:
    if set(given) - set(known):
        detail = f"{field}: expected {', '.join(known)}."
        raise CallerError(detail, code="invalid_request", http_status=422)


def _shown(user: UserRecord) -> dict[str, Any]:
    return {
        "user": user.user_id,
        "tier": user.tier,
        "entitled_tier": user.entitled_tier,
        "stripe_customer": user.stripe_customer,
        "tag": user.tag,
        "keys": user.keys,
    }


def _told(done: Deletion) -> dict[str, Any]:
    """What was deleted; `redis_keys` is null when Redis was away: they end by themselves."""
    return {
        "deleted": len(done.deleted.users),
        "rows": dict(done.deleted.rows),
        "redis_keys": done.traces,
        "left": done.deleted.left,
    }
